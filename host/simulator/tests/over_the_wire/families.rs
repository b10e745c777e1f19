//! InvokeModel in the words of every family: whole and streamed are the same answer, the same as by
//! Converse, and what is counted is what is billed.

use jiff::civil::{Date, date};
use kairos_simulator::{BillRow, Config};
use serde_json::{Value, json};

use crate::billing::only;
use crate::client::{Answer, Running, TODAY};
use crate::streams::chunks;

/// A day on which every family had a model.
const THEN: Date = date(2025, 3, 1);
const QUESTION: &str = "What is an inference gateway written in Rust?";

/// One family's way to ask and to answer.
struct Family {
    model: &'static str,
    /// The body that asks a question with a system message, where the family has one.
    body: fn(&str) -> Value,
    system: bool,
    /// The field that limits the output.
    limit: &'static str,
    stop: Option<&'static str>,
    /// Where a whole answer has its text, and why it stopped.
    text: &'static str,
    reason: &'static str,
    /// Where a chunk has a piece of text, and why it stopped.
    piece: &'static str,
    end: &'static str,
    /// The words for: said all, cut at the limit, at a stop sequence.
    words: [&'static str; 3],
    /// Counts of input and output in the answer itself.
    counts: Option<[&'static str; 2]>,
    /// Whether AWS counts in headers.
    headers: bool,
}

const BASE: Family = Family {
    model: "",
    body: |_| Value::Null,
    system: true,
    limit: "/max_tokens",
    stop: Some("/stop"),
    text: "",
    reason: "",
    piece: "",
    end: "",
    words: ["stop", "length", "stop"],
    counts: None,
    headers: true,
};

const OPENAI: Family = Family {
    body: |text| json!({"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]}),
    text: "/choices/0/message/content",
    reason: "/choices/0/finish_reason",
    piece: "/choices/0/delta/content",
    end: "/choices/0/finish_reason",
    counts: Some(["/usage/prompt_tokens", "/usage/completion_tokens"]),
    ..BASE
};

const MISTRAL_TEXT: Family = Family {
    body: |text| json!({"prompt": format!("<s>[INST] {text} [/INST]")}),
    system: false,
    text: "/outputs/0/text",
    reason: "/outputs/0/stop_reason",
    piece: "/outputs/0/text",
    end: "/outputs/0/stop_reason",
    ..BASE
};

const FAMILIES: &[Family] = &[
    Family {
        model: "anthropic.claude-3-haiku-20240307-v1:0",
        body: |text| {
            json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 1_000, "system": "be brief",
                "messages": [{"role": "user", "content": text}]})
        },
        stop: Some("/stop_sequences"),
        text: "/content/0/text",
        reason: "/stop_reason",
        piece: "/delta/text",
        end: "/delta/stop_reason",
        words: ["end_turn", "max_tokens", "stop_sequence"],
        counts: Some(["/usage/input_tokens", "/usage/output_tokens"]),
        ..BASE
    },
    Family {
        model: "amazon.titan-text-express-v1",
        body: |text| json!({"inputText": text, "textGenerationConfig": {}}),
        system: false,
        limit: "/textGenerationConfig/maxTokenCount",
        stop: Some("/textGenerationConfig/stopSequences"),
        text: "/results/0/outputText",
        reason: "/results/0/completionReason",
        piece: "/outputText",
        end: "/completionReason",
        words: ["FINISH", "LENGTH", "STOP_CRITERIA_MET"],
        counts: Some(["/inputTextTokenCount", "/results/0/tokenCount"]),
        ..BASE
    },
    Family { model: "ai21.jamba-1-5-large-v1:0", headers: false, ..OPENAI },
    Family {
        model: "amazon.nova-lite-v1:0",
        body: |text| {
            json!({"schemaVersion": "messages-v1", "system": [{"text": "be brief"}], "inferenceConfig": {},
                "messages": [{"role": "user", "content": [{"text": text}]}]})
        },
        limit: "/inferenceConfig/maxTokens",
        stop: Some("/inferenceConfig/stopSequences"),
        text: "/output/message/content/0/text",
        reason: "/stopReason",
        piece: "/contentBlockDelta/delta/text",
        end: "/messageStop/stopReason",
        words: ["end_turn", "max_tokens", "stop_sequence"],
        counts: Some(["/usage/inputTokens", "/usage/outputTokens"]),
        ..BASE
    },
    Family {
        model: "us.meta.llama3-1-8b-instruct-v1:0",
        body: |text| {
            let head = |role: &str| format!("<|start_header_id|>{role}<|end_header_id|>\n\n");
            let (system, user, assistant) = (head("system"), head("user"), head("assistant"));
            let prompt = format!("<|begin_of_text|>{system}be brief<|eot_id|>{user}{text}<|eot_id|>{assistant}");
            json!({"prompt": prompt})
        },
        limit: "/max_gen_len",
        stop: None,
        text: "/generation",
        reason: "/stop_reason",
        piece: "/generation",
        end: "/stop_reason",
        counts: Some(["/prompt_token_count", "/generation_token_count"]),
        ..BASE
    },
    Family { model: "mistral.mixtral-8x7b-instruct-v0:1", ..MISTRAL_TEXT },
    Family { model: "mistral.mistral-large-2402-v1:0", ..MISTRAL_TEXT },
    Family {
        model: "mistral.mistral-small-2402-v1:0",
        reason: "/choices/0/stop_reason",
        piece: "/choices/0/message/content",
        end: "/choices/0/stop_reason",
        counts: None,
        ..OPENAI
    },
    Family { model: "mistral.mistral-large-2407-v1:0", ..OPENAI },
    Family {
        model: "cohere.command-r-plus-v1:0",
        body: |text| json!({"message": text, "preamble": "be brief"}),
        stop: Some("/stop_sequences"),
        text: "/text",
        reason: "/finish_reason",
        piece: "/text",
        end: "/finish_reason",
        words: ["COMPLETE", "MAX_TOKENS", "COMPLETE"],
        headers: false,
        ..BASE
    },
    Family {
        model: "us.deepseek.r1-v1:0",
        body: |text| json!({"prompt": format!("<｜begin▁of▁sentence｜>be brief<｜User｜>{text}<｜Assistant｜><think>\n")}),
        text: "/choices/0/text",
        reason: "/choices/0/stop_reason",
        piece: "/choices/0/text",
        end: "/choices/0/stop_reason",
        ..BASE
    },
    Family { model: "deepseek.v3-v1:0", ..OPENAI },
];

/// Puts a value at a pointer whose parent is there.
fn put(body: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
}

fn number(value: &Value, pointer: &str) -> u32 {
    let found = value.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {value}"));
    u32::try_from(found.as_u64().unwrap()).unwrap()
}

fn header(answer: &Answer, name: &str) -> Option<u32> {
    answer.headers.get(name).map(|count| count.parse().unwrap())
}

fn usage(row: &BillRow) -> (u32, u32) {
    (row.input_tokens, row.output_tokens)
}

/// The words of a Converse answer, thoughts before the mark that ends them.
fn said(converse: &Value) -> String {
    let content = converse["output"]["message"]["content"].as_array().unwrap();
    let block = |block: &Value| match block.pointer("/reasoningContent/reasoningText/text") {
        Some(thought) => format!("{}</think>", thought.as_str().unwrap()),
        None => block["text"].as_str().unwrap().to_owned(),
    };
    content.iter().map(block).collect()
}

impl Family {
    async fn both(&self, running: &Running, body: &Value) -> (Answer, Answer, BillRow) {
        let whole = running.call_as(&format!("{} whole", self.model), self.model, "invoke", body).await;
        assert_eq!(whole.status, 200, "{}: {}", self.model, whole.json());
        let id = format!("{} stream", self.model);
        let stream = running.call_as(&id, self.model, "invoke-with-response-stream", body).await;
        let rows = running.bill.rows(0, 1_000);
        let [.., first, second] = &rows[..] else { panic!("two rows") };
        assert_eq!((usage(first), first.cost_usd), (usage(second), second.cost_usd), "{}", self.model);
        assert_eq!(second.invocation_id, id);
        (whole, stream, second.clone())
    }

    /// Checks one answer both ways, and gives its text.
    async fn check(&self, running: &Running, body: &Value, reason: &str) -> String {
        let (whole, stream, row) = self.both(running, body).await;
        let (answer, events) = (whole.json(), chunks(&stream));
        let text = answer.pointer(self.text).and_then(Value::as_str).unwrap_or_else(|| panic!("{answer}"));
        let pieces: String = events.iter().filter_map(|event| event.pointer(self.piece)?.as_str()).collect();
        assert_eq!(pieces, text, "{}", self.model);
        assert_eq!(answer.pointer(self.reason), Some(&json!(reason)), "{}", self.model);
        let ends: Vec<&Value> =
            events.iter().filter_map(|event| event.pointer(self.end).filter(|end| !end.is_null())).collect();
        assert_eq!(ends, [&json!(reason)], "{}: one chunk says why it stopped", self.model);
        if let Some([input, output]) = self.counts {
            assert_eq!((number(&answer, input), number(&answer, output)), usage(&row), "{}", self.model);
        }
        let counted = ["input", "output"].map(|kind| header(&whole, &format!("x-amzn-bedrock-{kind}-token-count")));
        let expected = self.headers.then_some(usage(&row));
        assert_eq!(counted[0].zip(counted[1]), expected, "{}", self.model);
        let metrics = &events.last().unwrap()["amazon-bedrock-invocationMetrics"];
        let counted = (number(metrics, "/inputTokenCount"), number(metrics, "/outputTokenCount"));
        assert_eq!(counted, usage(&row), "{}", self.model);
        assert_eq!(stream.headers["x-amzn-bedrock-content-type"], "application/json");
        text.to_owned()
    }
}

#[tokio::test]
async fn whole_streamed_and_billed_are_the_same_in_every_family() {
    let running = Running::start(Config::new(THEN)).await;
    for family in FAMILIES {
        let body = (family.body)(QUESTION);
        let text = family.check(&running, &body, family.words[0]).await;
        assert!(text.contains("Kairos simulator"), "{text}");

        let mut short = body.clone();
        put(&mut short, family.limit, json!(5));
        let cut = family.check(&running, &short, family.words[1]).await;
        assert!(text.starts_with(&cut) && cut.len() < text.len(), "{cut}");

        if let Some(stop) = family.stop {
            let mut stopped = body.clone();
            put(&mut stopped, stop, json!(["Kairos"]));
            let cut = family.check(&running, &stopped, family.words[2]).await;
            assert!(text.starts_with(&cut) && !cut.contains("Kairos"), "{cut}");
        }
    }
}

#[tokio::test]
async fn a_prompt_gets_what_the_same_conversation_gets_by_converse() {
    let running = Running::start(Config::new(THEN)).await;
    for family in FAMILIES {
        let native = running.call_as("native", family.model, "invoke", &(family.body)(QUESTION)).await.json();
        let mut request = json!({"messages": [{"role": "user", "content": [{"text": QUESTION}]}]});
        if family.system {
            request["system"] = json!([{"text": "be brief"}]);
        }
        let converse = running.call_as("converse", family.model, "converse", &request).await.json();
        assert_eq!(native.pointer(family.text), Some(&json!(said(&converse))), "{}", family.model);
        let rows = running.bill.rows(0, 1_000);
        let [.., one, other] = &rows[..] else { panic!("two rows") };
        assert_eq!((usage(one), one.cost_usd), (usage(other), other.cost_usd), "{}", family.model);
    }
}

#[tokio::test]
async fn jurassic_counts_by_its_lists_and_does_not_stream() {
    let running = Running::start(Config::new(THEN)).await;
    let model = "ai21.j2-ultra-v1";
    for (settings, reason) in [
        (json!({}), json!({"reason": "endoftext"})),
        (json!({"maxTokens": 5}), json!({"reason": "length", "length": 5})),
        (json!({"stopSequences": ["Kairos"]}), json!({"reason": "stop", "sequence": "Kairos"})),
    ] {
        let mut body = json!({"prompt": QUESTION});
        body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let id = settings.to_string();
        let answer = running.call_as(&id, model, "invoke", &body).await;
        assert!(!answer.headers.keys().any(|name| name.starts_with("x-amzn-bedrock")), "{:?}", answer.headers);
        let (answer, row) = (answer.json(), only(running.bill.find(&id)));
        let completion = &answer["completions"][0];
        assert_eq!((&answer["prompt"]["text"], &completion["finishReason"]), (&json!(QUESTION), &reason));
        let tokens = |of: &Value| u32::try_from(of["tokens"].as_array().unwrap().len()).unwrap();
        assert_eq!((tokens(&answer["prompt"]), tokens(&completion["data"])), usage(&row));
        let joined = |of: &Value| -> String {
            let all = of["tokens"].as_array().unwrap().iter();
            all.map(|token| token["generatedToken"]["token"].as_str().unwrap()).collect()
        };
        assert_eq!(joined(&completion["data"]), completion["data"]["text"].as_str().unwrap());
        // 18.80 dollars per million, in and out.
        let price = crate::billing::picos(row.input_tokens + row.output_tokens, 1_880);
        assert_eq!(row.cost_usd.picodollars(), price);
    }
    let before = running.bill.totals().rows;
    let refused = running.call(model, "invoke-with-response-stream", &json!({"prompt": QUESTION})).await;
    assert_eq!(refused.error(), (400, "ValidationException", "The model is unsupported for streaming.".into()));
    assert_eq!(running.bill.totals().rows, before);
}

#[tokio::test]
async fn ended_families_answer_as_aws_does() {
    let running = Running::today().await;
    let ended = "This model version has reached the end of its life. Please refer to the AWS documentation for more \
                 details.";
    for (model, body) in [
        ("amazon.titan-text-express-v1", json!({"inputText": "hi"})),
        ("ai21.j2-ultra-v1", json!({"prompt": "hi"})),
        ("cohere.command-r-v1:0", json!({"message": "hi"})),
    ] {
        for operation in ["invoke", "invoke-with-response-stream"] {
            let answer = running.call(model, operation, &body).await;
            assert_eq!(answer.error(), (404, "ResourceNotFoundException", ended.into()), "{model}");
        }
    }
    let jamba = "ai21.jamba-1-5-large-v1:0";
    let body = (OPENAI.body)("hi");
    assert_eq!(running.call(jamba, "invoke", &body).await.status, 200, "three days are left");
    let later = Running::start(Config::new(date(2026, 11, 26))).await;
    assert_eq!(later.call(jamba, "invoke", &body).await.error(), (404, "ResourceNotFoundException", ended.into()));
    assert_eq!((later.bill.totals().rows, running.bill.totals().rows), (0, 1));
}

/// Calls of tools, in the families whose bodies have them.
#[tokio::test]
async fn tools_are_called_in_the_words_of_the_family() {
    let running = Running::start(Config::new(TODAY.saturating_sub(jiff::ToSpan::years(1)))).await;
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let function = json!({"type": "function", "function": {"name": "get_weather", "parameters": schema}});
    let chat = json!({"messages": [{"role": "user", "content": "call get_weather"}], "tools": [function]});
    for (model, reason) in [
        ("mistral.mistral-large-2402-v1:0", "stop_reason"),
        ("mistral.mistral-large-2407-v1:0", "finish_reason"),
        ("ai21.jamba-1-5-large-v1:0", "finish_reason"),
        ("deepseek.v3-v1:0", "finish_reason"),
    ] {
        let answer = running.call(model, "invoke", &chat).await.json();
        let choice = &answer["choices"][0];
        assert_eq!(choice[reason], "tool_calls", "{model}: {answer}");
        let call = &choice["message"]["tool_calls"][0];
        assert_eq!(call["function"]["name"], "get_weather");
        let stream = chunks(&running.call(model, "invoke-with-response-stream", &chat).await);
        let streamed = stream.iter().find_map(|event| {
            ["/choices/0/delta/tool_calls/0", "/choices/0/message/tool_calls/0"].iter().find_map(|at| event.pointer(at))
        });
        assert_eq!(streamed.unwrap()["function"], call["function"], "{model}");
        // The result goes back, and is taken up.
        let mut next = chat.clone();
        let messages = next["messages"].as_array_mut().unwrap();
        messages.push(choice["message"].clone());
        messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "rain"}));
        let answer = running.call(model, "invoke", &next).await.json();
        let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(text.contains("The result of get_weather is in: rain."), "{model}: {text}");
    }

    let tool = json!({"name": "get_weather", "description": "d",
        "parameter_definitions": {"city": {"type": "str", "required": true}}});
    let body = json!({"message": "call get_weather", "tools": [tool]});
    let model = "cohere.command-r-v1:0";
    let answer = running.call(model, "invoke", &body).await.json();
    let call = answer["tool_calls"][0].clone();
    assert!(call["name"] == "get_weather" && call["parameters"]["city"].is_string(), "{answer}");
    let stream = chunks(&running.call(model, "invoke-with-response-stream", &body).await);
    let kinds: Vec<&str> = stream.iter().map(|event| event["event_type"].as_str().unwrap()).collect();
    assert!(
        kinds.starts_with(&["stream-start"]) && kinds.ends_with(&["tool-calls-generation", "stream-end"]),
        "{kinds:?}"
    );
    let mut next = body.clone();
    next["tool_results"] = json!([{"call": call, "outputs": [{"sky": "rain"}]}]);
    let text = running.call(model, "invoke", &next).await.json()["text"].as_str().unwrap().to_owned();
    assert!(text.contains(r#"The result of get_weather is in: {"sky":"rain"}."#), "{text}");

    let spec = json!({"toolSpec": {"name": "get_weather", "inputSchema": {"json": schema}}});
    let body = json!({"messages": [{"role": "user", "content": [{"text": "call get_weather"}]}],
        "toolConfig": {"tools": [spec]}});
    let answer = running.call("amazon.nova-lite-v1:0", "invoke", &body).await.json();
    let content = answer["output"]["message"]["content"].as_array().unwrap();
    let tool = &content.last().unwrap()["toolUse"];
    assert!(answer["stopReason"] == "tool_use" && tool["name"] == "get_weather", "{answer}");
    let stream = chunks(&running.call("amazon.nova-lite-v1:0", "invoke-with-response-stream", &body).await);
    let input: String =
        stream.iter().filter_map(|event| event.pointer("/contentBlockDelta/delta/toolUse/input")?.as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&input).unwrap(), tool["input"]);
}

#[tokio::test]
async fn a_guardrail_steps_in_in_every_family() {
    let running = Running::start(Config::new(THEN)).await;
    for family in FAMILIES {
        let body = (family.body)("a forbidden-topic").to_string();
        for operation in ["invoke", "invoke-with-response-stream"] {
            let headers = [
                ("amz-sdk-invocation-id", "guarded"),
                ("x-amzn-bedrock-guardrailidentifier", "sim-guardrail"),
                ("x-amzn-bedrock-guardrailversion", "1"),
            ];
            let answer = running.send(running.request(family.model, operation, body.clone(), &headers)).await.unwrap();
            let last = if operation == "invoke" { answer.json() } else { chunks(&answer).pop().unwrap() };
            assert_eq!(last["amazon-bedrock-guardrailAction"], "INTERVENED", "{} {operation}", family.model);
            let row = running.bill.find("guarded").pop().unwrap();
            assert_eq!((usage(&row), row.guardrail_units.topic), ((0, 0), 1), "{} {operation}", family.model);
        }
    }
}
