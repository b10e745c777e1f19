//! That no text is missed, and that nothing but texts changes.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

type Read = for<'a> fn(&'a [u8]) -> Result<Texts<'a>, Invalid>;

fn of_converse(body: &[u8]) -> Result<Texts<'_>, Invalid> {
    Texts::of_converse(body)
}
fn of_converse_answer(body: &[u8]) -> Result<Texts<'_>, Invalid> {
    Texts::of_converse_answer(body)
}
fn of_invoke(body: &[u8]) -> Result<Texts<'_>, Invalid> {
    Texts::of_invoke(body)
}
fn of_job(body: &[u8]) -> Result<Texts<'_>, Invalid> {
    Texts::of_job(body)
}
fn of_invoke_answer(body: &[u8]) -> Result<Texts<'_>, Invalid> {
    Texts::of_invoke_answer(body)
}

const READERS: [Read; 4] = [of_converse, of_converse_answer, of_invoke, of_invoke_answer];

/// Origins and texts of a body, each as `origin text`.
fn listed(texts: &Texts<'_>) -> Vec<String> {
    texts.all().iter().map(|text| format!("{} {}", text.origin.name(), text.text)).collect()
}

/// Every place of a Converse request that holds text, with `M` and a number in it. `TTA=` is `M0` in base64.
const CONVERSE: &str = r#" {"system":[{"text":"M1"},{"cachePoint":{"type":"default"}},{"guardContent":{"text":{"text":"M2","qualifiers":["query"]}}}],
"messages":[{"role":"user","content":[{"text":"M3"},{"image":{"format":"png","source":{"bytes":"aaaa"}}},
{"document":{"name":"M4","source":{"bytes":"TTA="},"format":"txt","context":"M5","citations":{"enabled":true}}},
{"document":{"format":"pdf","name":"M6","source":{"bytes":"bbbb"}}},
{"document":{"format":"md","name":"M7","source":{"text":"M8"}}},{"document":{"format":"pdf","name":"M9","source":{"content":[{"text":"M10"}]}}},
{"document":{"format":"pdf","name":"M11","source":{"s3Location":{"uri":"s3://b/k","bucketOwner":"1"}}}},
{"video":{"format":"mp4","source":{"s3Location":{"uri":"s3://b/k"}}}},{"audio":{"format":"mp3","source":{"bytes":"dddd"}}},
{"guardContent":{"text":{"text":"M12","qualifiers":["query"]}}},{"guardContent":{"image":{"format":"png","source":{"bytes":"cccc"}}}},
{"searchResult":{"source":"M13","title":"M14","content":[{"text":"M15"}],"citations":{"enabled":true}}},{"cachePoint":{"type":"default","ttl":"5m"}}]},
{"content":[{"reasoningContent":{"reasoningText":{"text":"M16","signature":"sig"}}},{"reasoningContent":{"redactedContent":"AQI="}},{"text":"M17"},
{"toolUse":{"toolUseId":"t1","name":"f","input":{"M18":"M19","n":[1,-2.50e3,true,null,{"M20":["M21"]}]}}},
{"citationsContent":{"content":[{"text":"M22"}],"citations":[{"title":"M23","source":"M24","sourceContent":[{"text":"M25"}],"location":{"web":{"url":"M26","domain":"M27"}}}]}}],"role":"assistant"},
{"role":"user","content":[{"toolResult":{"toolUseId":"t1","status":"success","content":[{"text":"M28"},{"json":{"M29":{"M30":12}}},
{"image":{"format":"png","source":{"bytes":"eeee"}}},{"document":{"format":"csv","name":"M31","source":{"bytes":"TTA="}}},{"searchResult":{"source":"M32","title":"M33","content":[{"text":"M34"}]}}]}}]},
{"role":"system","content":[{"text":"M35"},{"future":{"M36":"M37"}}]}],
"inferenceConfig":{"maxTokens":256,"stopSequences":["M38"]},
"toolConfig":{"tools":[{"toolSpec":{"name":"f","description":"M39","strict":true,"inputSchema":{"json":{"type":"object","properties":{"M40":{"description":"M41","default":5}},"required":["M42"]}}}},{"cachePoint":{"type":"default"}},{"systemTool":{"name":"M43"}}],"toolChoice":{"tool":{"name":"f"}}},
"guardrailConfig":{"guardrailIdentifier":"gr","guardrailVersion":"1","trace":"enabled"},
"promptVariables":{"M44":{"text":"M45"}},"additionalModelRequestFields":{"M46":["M47"],"k":40},"additionalModelResponseFieldPaths":["/M48"],
"requestMetadata":{"M49":"M50"},"performanceConfig":{"latency":"standard"},"serviceTier":{"type":"default"},
"outputConfig":{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"M51\":\"\\u004d52\"}","name":"o","description":"M53"}}}},"unknown":{"M54":"M55"}} "#;

const CONVERSE_ANSWER: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"M1"},{"reasoningContent":{"reasoningText":{"text":"M2","signature":"sig"}}},
{"toolUse":{"toolUseId":"t","name":"f","input":{"M3":"M4","n":7}}},{"citationsContent":{"content":[{"text":"M5"}],"citations":[{"title":"M6","sourceContent":[{"text":"M7"}]}]}},{"image":{"format":"png","source":{"bytes":"aaaa"}}}]}},
"stopReason":"end_turn","usage":{"inputTokens":1},"metrics":{"latencyMs":1},"additionalModelResponseFields":{"stop_sequence":"M8"},
"trace":{"guardrail":{"modelOutput":["M9"],"inputAssessment":{"g":{"sensitiveInformationPolicy":{"piiEntities":[{"match":"M10"}]}}}},"promptRouter":{"invokedModelId":"m"}}}"#;

/// Bodies of all families: what is sent, and how many texts of it are marked.
const INVOKE: [&str; 15] = [
    r#"{"inputText":"M1","inputImage":"aaaa","dimensions":256,"embeddingTypes":["float"]}"#,
    r#"{"input_type":"search_query","truncate":"END","embedding_types":["float"],"texts":["M1","M2"],"images":["data:image/png;base64,aaaa"],
"inputs":[{"content":[{"type":"text","text":"M3"},{"type":"image_url","image_url":"data:image/png;base64,bbbb"},{"type":"image_url","image_url":{"url":"data:image/png;base64,cccc"}}]}]}"#,
    r#"{"schemaVersion":"nova-multimodal-embed-v1","taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"embeddingPurpose":"GENERIC_INDEX","embeddingDimension":256,"text":{"truncationMode":"END","value":"M1"},"image":{"format":"png","source":{"bytes":"aaaa"}},"future":{"a":"M2"}}}"#,
    r#"{"inputType":"text_image","text_image":{"inputText":"M1","mediaSource":{"base64String":"aaaa"}},"text":{"inputText":"M2"},"image":{"mediaSource":{"base64String":"bbbb"}}}"#,
    r#"{"query":"M1","documents":["M2",{"M3":"M4"}],"top_n":2,"api_version":2}"#,
    r#"{"taskType":"TEXT_IMAGE","textToImageParams":{"text":"M1","negativeText":"M2","conditionImage":"aaaa"},"inPaintingParams":{"maskPrompt":"M3","image":"bbbb"},"prompt":"M4","negative_prompt":"M5","image":"cccc","mask":"dddd","search_prompt":"M6","select_prompt":"M7","imageGenerationConfig":{"width":512}}"#,
    r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":64,"system":[{"type":"text","text":"M1","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"M2"},
{"role":"assistant","content":[{"type":"thinking","thinking":"M3","signature":"sig"},{"type":"redacted_thinking","data":"xxxx"},{"type":"text","text":"M4","citations":[{"type":"char_location","cited_text":"M5","document_title":"M6"}]},{"type":"tool_use","id":"t","name":"f","input":{"M7":"M8"}}]},
{"role":"user","content":[{"content":"M9","type":"tool_result","tool_use_id":"t"},{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"M10"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aaaa"}}]},
{"type":"document","title":"M11","context":"M12","source":{"type":"text","media_type":"text/plain","data":"M13"}},{"type":"document","source":{"data":"bbbb","type":"base64","media_type":"application/pdf"}},{"type":"document","source":{"type":"base64","media_type":"text/plain","data":"TTA="}},
{"type":"document","source":{"type":"content","content":[{"type":"text","text":"M14"}]}},{"type":"search_result","source":"M15","title":"M16","content":[{"type":"text","text":"M17"}]},{"type":"image","source":{"type":"url","url":"M18"}}]}],
"tools":[{"name":"f","description":"M19","input_schema":{"type":"object","properties":{"M20":{"enum":["M21"]}}}}],"tool_choice":{"type":"any"},"metadata":{"user_id":"M22"},"stop_sequences":["M23"],"top_k":3}"#,
    r#"{"schemaVersion":"messages-v1","messages":[{"role":"user","content":[{"image":{"format":"png","source":{"bytes":"AA=="}}},{"text":"M1"}]}],"system":[{"text":"M2"}],"inferenceConfig":{"max_new_tokens":64,"stopSequences":["M3"]},"toolConfig":{"tools":[{"toolSpec":{"name":"f","description":"M4","inputSchema":{"json":{}}}}]}}"#,
    r#"{"inputText":"M1","textGenerationConfig":{"maxTokenCount":64,"stopSequences":["M2"]}}"#,
    r#"{"prompt":"M1","max_gen_len":5,"images":["AA=="]}"#,
    r#"{"messages":[{"role":"system","content":"M1"},{"role":"user","name":"M2","content":[{"type":"text","text":"M3"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},{"type":"image_url","image_url":{"url":"M4"}}]},{"role":"assistant","content":null,"reasoning_content":"M5","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"M6\": \"\\u004d7\", \"n\":8}"}}]},{"role":"tool","tool_call_id":"c","content":"M8"}],"tools":[{"type":"function","function":{"name":"f","description":"M9","parameters":{"M10":"M11"}}}],"stop":["M12"],"documents":[{"content":"M13"}],"response_format":{"type":"json_schema","json_schema":{"name":"o","schema":{"M14":"M15"}}}}"#,
    r#"{"message":"M1","preamble":"M2","chat_history":[{"role":"USER","message":"M3"},{"role":"CHATBOT","message":"M4"}],"documents":[{"title":"M5","M6":"M7"}],"tools":[{"name":"f","description":"M8","parameter_definitions":{"M9":{"description":"M10","type":"str"}}}],"tool_results":[{"call":{"name":"f","parameters":{"M11":"M12"}},"outputs":[{"M13":"M14"}]}],"stop_sequences":["M15"]}"#,
    r#"{"prompt":"M1","stopSequences":["M2"],"countPenalty":{"scale":0}}"#,
    r#"{"texts":["M1"],"input_type":"search_document"}"#,
    r#"{"nobody":{"knows":{"M1":[["M2"]]},"type":"M3"},"text":"M4"}"#,
];

const INVOKE_ANSWERS: [&str; 8] = [
    r#"{"id":"msg","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"M1","signature":"s"},{"type":"text","text":"M2"},{"type":"tool_use","id":"t","name":"f","input":{"a":"M3"}}],"stop_reason":"stop_sequence","stop_sequence":"M4","usage":{"input_tokens":1}}"#,
    r#"{"output":{"message":{"content":[{"text":"M1"}],"role":"assistant"}},"stopReason":"end_turn","usage":{"inputTokens":1}}"#,
    r#"{"inputTextTokenCount":5,"results":[{"tokenCount":5,"outputText":"M1","completionReason":"FINISH"}]}"#,
    r#"{"generation":"M1","prompt_token_count":1,"stop_reason":"stop"}"#,
    r#"{"outputs":[{"text":"M1","stop_reason":"stop"}]}"#,
    r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"M1","reasoning_content":"M2","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":\"M3\"}"}}]},"finish_reason":"stop"}],"usage":{}}"#,
    r#"{"id":1,"prompt":{"text":"M1","tokens":[{"generatedToken":{"token":"M2"}}]},"completions":[{"data":{"text":"M3","tokens":[{"generatedToken":{"token":"M4"}}]},"finishReason":{"reason":"endoftext"}}]}"#,
    r#"{"response_id":"r","generation_id":"g","text":"M1","chat_history":[{"role":"USER","message":"M2"}],"finish_reason":"COMPLETE","tool_calls":[{"name":"f","parameters":{"a":"M3"}}],"citations":[{"text":"M4"}],"documents":[{"snippet":"M5"}]}"#,
];

fn bodies() -> impl Iterator<Item = (Read, &'static str)> {
    let converse = [(of_converse as Read, CONVERSE), (of_converse_answer, CONVERSE_ANSWER)];
    let invoke = INVOKE.map(|body| (of_invoke as Read, body));
    let jobs = JOBS.map(|body| (of_job as Read, body));
    converse.into_iter().chain(invoke).chain(jobs).chain(INVOKE_ANSWERS.map(|body| (of_invoke_answer as Read, body)))
}

const JOBS: [&str; 2] = [
    r#"{"taskType":"MULTI_SHOT_MANUAL","multiShotManualParams":{"shots":[{"text":"M1"},{"text":"M2 \u004d3",
        "image":{"format":"png","source":{"bytes":"aaaa"}}},{"image":{"source":{"s3Location":{"uri":"s3://b/k"}}}}]},
        "videoGenerationConfig":{"seed":7,"unknown":"M4"}}"#,
    r#"{"inputType":"video","video":{"mediaSource":{"base64String":"bbbb"},"embeddingOption":["visual"]},"inputText":"M1",
        "new":["M2",{"x":"M3"}]}"#,
];

/// The marks in a text, in order.
fn marks(text: &str) -> Vec<u32> {
    let after = |(at, _): (usize, &str)| {
        let digits: String = text[at + 1..].chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    text.match_indices('M').filter_map(after).collect()
}

#[test]
fn no_text_is_missed() {
    for (read, body) in bodies() {
        let texts = read(body.as_bytes()).unwrap();
        let mut found: Vec<u32> = texts.all().iter().flat_map(|text| marks(&text.text)).collect();
        found.retain(|mark| *mark > 0);
        let most = found.iter().copied().max().unwrap();
        found.sort_unstable();
        assert_eq!(found, (1..=most).collect::<Vec<_>>(), "{body}");
        // Nor is one that is written with an escape, or in base64, in the body once all are replaced.
        let instead: Vec<_> = (0..texts.all().len()).map(|number| (number, "-".to_owned())).collect();
        let replaced = texts.replaced(&instead);
        let replaced = std::str::from_utf8(&replaced).unwrap();
        assert_eq!(marks(replaced), [0; 0], "{replaced}");
        assert!(!replaced.contains("TTA=") && !replaced.contains("u004d"), "{replaced}");
        serde_json::from_str::<Value>(replaced).unwrap();
        for kept in ["aaaa", "bbbb", "cccc", "dddd", "eeee", "\"t1\"", "sig", "AQI=", "tool_result", "s3://b/k"] {
            assert_eq!(replaced.matches(kept).count(), body.matches(kept).count(), "{kept}: {replaced}");
        }
    }
}

#[test]
fn texts_are_what_they_are() {
    let expected = |texts: &Texts<'_>, origin: Origin| -> Vec<u32> {
        let of = texts.all().iter().filter(|text| text.origin == origin);
        of.flat_map(|text| marks(&text.text)).filter(|mark| *mark > 0).collect()
    };
    let converse = Texts::of_converse(CONVERSE.as_bytes()).unwrap();
    for (origin, marks) in [
        (Origin::System, &[1, 2, 35][..]),
        (Origin::User, &[3, 12, 44, 45]),
        (Origin::Assistant, &[17, 22]),
        (Origin::Reasoning, &[16]),
        (Origin::ToolInput, &[18, 19, 20, 21]),
        (Origin::ToolResult, &[28, 29, 30]),
        (Origin::ToolDefinition, &[39, 40, 41, 42, 43, 51, 52, 53]),
        (Origin::Document, &[4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 31, 32, 33, 34]),
        (Origin::Citation, &[23, 24, 25, 26, 27]),
        (Origin::Other, &[36, 37, 38, 46, 47, 48, 49, 50, 54, 55]),
    ] {
        assert_eq!(expected(&converse, origin), marks, "{origin:?}");
    }
    let numbers: Vec<_> =
        converse.all().iter().filter(|text| text.form == Form::Number).map(|text| &*text.text).collect();
    assert_eq!(numbers, ["1", "-2.50e3", "12"]);
    assert_eq!(converse.all().iter().filter(|text| text.form == Form::Base64 && text.text == "M0").count(), 2);

    let claude = Texts::of_invoke(INVOKE[6].as_bytes()).unwrap();
    assert_eq!(expected(&claude, Origin::ToolResult), [9, 10]);
    assert_eq!(expected(&claude, Origin::Reasoning), [3]);
    let chat = Texts::of_invoke(INVOKE[10].as_bytes()).unwrap();
    assert_eq!((expected(&chat, Origin::System), expected(&chat, Origin::ToolInput)), (vec![1], vec![6, 7]));
    assert_eq!(expected(&chat, Origin::ToolResult), [8]);
    let command = Texts::of_invoke(INVOKE[11].as_bytes()).unwrap();
    assert_eq!((expected(&command, Origin::User), expected(&command, Origin::Assistant)), (vec![1, 3], vec![4]));
    let answer = Texts::of_converse_answer(CONVERSE_ANSWER.as_bytes()).unwrap();
    assert_eq!((expected(&answer, Origin::Assistant), expected(&answer, Origin::Other)), (vec![1, 5], vec![8, 9, 10]));
}

#[test]
fn only_what_is_replaced_changes() {
    for (read, body) in bodies() {
        let texts = read(body.as_bytes()).unwrap();
        assert_eq!(texts.replaced(&[]), body);
        for (number, text) in texts.all().iter().enumerate() {
            let changed = texts.replaced(&[(number, "\"x\\\n\u{1}é".to_owned())]);
            // All that stands before and behind it, or the string that it is within, is as it was.
            let holder = match text.form {
                Form::Within(holder) | Form::NumberWithin(holder) => texts.holders[holder].at.clone(),
                _ => text.at.clone(),
            };
            assert!(changed.starts_with(&body.as_bytes()[..holder.start]));
            assert!(changed.ends_with(&body.as_bytes()[holder.end..]));
            let again = read(&changed).unwrap();
            assert_eq!(again.all()[number].text, "\"x\\\n\u{1}é");
            for (other, (then, now)) in texts.all().iter().zip(again.all()).enumerate() {
                assert!(other == number || then.text == now.text, "{number} {other}: {body}");
            }
        }
    }
}

#[test]
fn escapes_hide_nothing() {
    let body = br#"{"m\u0065ssages":[{"r\u006fle":"\u0075ser","content":[{"\u0074ext":"\u0061@b.c \ud83e\udd80\/"},{"text":"a","text":"b"}]}],"system":[{"text":"c"}],"system":[{"text":"d"}]}"#;
    let texts = Texts::of_converse(body).unwrap();
    assert_eq!(listed(&texts), ["user a@b.c 🦀/", "user a", "user b", "system c", "system d"]);
    assert_eq!(texts.replaced(&[]), &body[..]);
}

#[test]
fn what_cannot_be_read_for_certain_is_refused() {
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let many = format!("{{\"messages\":[{{\"content\":[{{\"json\":[{}1]}}]}}]}}", "1,".repeat(MOST_TEXTS));
    for (body, says) in [
        (r#"{"messages":[{"content":"\ud83e"}]}"#, "half of a pair"),
        (r#"{"messages":[{"role":"user","role":"assistant","content":"x"}]}"#, "\"role\" is there twice"),
        (r#"{"x":{"document":{}},"messages":[{"content":[{"document":{"format":"txt","format":"pdf"}}]}]}"#, "twice"),
        (r#"{"messages":"#, "not valid JSON"),
        ("{\"a\":\"\u{1}\"}", "not valid JSON"),
        (&deep, "deeper than 128"),
        (&many, "more than 262144"),
    ] {
        for read in [of_converse as Read, of_invoke] {
            let error = read(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
    assert!(of_converse(b"{\"a\":\"\xff\"}").is_err());
}

/// JSON in which any character may be written in any way that there is.
fn json() -> impl Strategy<Value = String> {
    let char = prop_oneof![
        any::<char>().prop_map(|one| serde_json::to_string(&one).unwrap().trim_matches('"').to_owned()),
        any::<char>().prop_map(|one| one
            .encode_utf16(&mut [0; 2])
            .iter()
            .map(|unit| format!("\\u{unit:04X}"))
            .collect()),
        Just("\\/".to_owned()),
    ];
    // `trim_matches` takes a quote that is escaped apart; it is not drawn.
    let string = prop::collection::vec(char, 0..6)
        .prop_map(|chars| format!("\"{}\"", chars.concat()))
        .prop_filter("a string", |text| serde_json::from_str::<String>(text).is_ok());
    let name = prop::sample::select(vec![
        "\"messages\"",
        "\"content\"",
        "\"text\"",
        "\"toolUse\"",
        "\"input\"",
        "\"x\"",
        "\"source\"",
        "\"data\"",
        "\"arguments\"",
        "\"function\"",
        "\"tool_calls\"",
        "\"document\"",
        "\"output\"",
        "\"message\"",
    ]);
    let leaf = prop_oneof![
        string.clone(),
        Just("-1.5e3".to_owned()),
        Just("null".to_owned()),
        Just("\"{\\\"a\\\":\\\"b\\\"}\"".to_owned())
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        let name = prop_oneof![3 => name.clone().prop_map(str::to_owned), 1 => string.clone()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|all| format!("[ {} ]", all.join(" , "))),
            prop::collection::vec((name, inner), 0..5).prop_map(|all| {
                let fields: Vec<_> = all.into_iter().map(|(name, value)| format!("{name}:\t{value}")).collect();
                format!("{{{}}}", fields.join(",\n"))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_comes_back_as_it_was(body in json()) {
        for read in READERS {
            let texts = read(body.as_bytes()).unwrap();
            prop_assert_eq!(&texts.replaced(&[])[..], body.as_bytes());
            let same: Vec<_> = texts.all().iter().enumerate().map(|(number, text)| (number, text.text.clone().into_owned())).collect();
            let again = texts.replaced(&same);
            serde_json::from_slice::<Value>(&again).unwrap();
            let again: Vec<_> = read(&again).unwrap().all().iter().map(|text| text.text.clone().into_owned()).collect();
            prop_assert_eq!(again, same.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
        }
    }

    #[test]
    fn anything_is_taken(body in any::<Vec<u8>>(), text in "[\\[\\]{}\",:\\\\a1 ]{0,40}") {
        for read in READERS {
            for body in [&body, text.as_bytes()] {
                prop_assert_eq!(read(body).is_err(), serde_json::from_slice::<Value>(body).is_err());
            }
        }
    }
}

/// Texts of chunks, by what they are pieces of: those that families stream, and no others.
#[test]
fn chunks_say_which_of_their_texts_go_on() {
    let cases = [
        (r#"{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"M0"}}"#, "assistant M0 [3]"),
        (
            r#"{"type":"content_block_start","index":3,"content_block":{"type":"thinking","thinking":"M0","signature":"s"}}"#,
            "reasoning M0 [3]",
        ),
        (r#"{"contentBlockDelta":{"delta":{"text":"M0"},"contentBlockIndex": 2}}"#, "assistant M0 [2]"),
        (
            r#"{"contentBlockDelta":{"delta":{"reasoningContent":{"reasoningText":{"text":"M0"}}},"contentBlockIndex":2}}"#,
            "reasoning M0 [2]",
        ),
        (
            r#"{"contentBlockDelta":{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"a\""}}}}"#,
            "tool-input {\"a\" [1]",
        ),
        (r#"{"outputText":"M0","index":0,"completionReason":"FINISH"}"#, "assistant M0 [0]"),
        (r#"{"generation":"M0","stop_reason":"stop"}"#, "assistant M0 []"),
        (r#"{"outputs":[{"text":"M0"},{"text":"M1"}]}"#, "assistant M0 [0], assistant M1 [1]"),
        (
            r#"{"id":"c","choices":[{"index":7,"delta":{"role":"assistant","content":"M0","reasoning_content":"M1",
                "tool_calls":[{"index":4,"id":"t","function":{"name":"f","arguments":"{}"}}]}}]}"#,
            "assistant M0 [7], reasoning M1 reasoning_content[7], tool-input {} [4, 7]",
        ),
        (
            r#"{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"M0"},{"type":"text","text":"M1"}]}}]}"#,
            "assistant M0 [0], assistant M1 [0]",
        ),
        (
            r#"{"event_type":"stream-end","is_finished":true,"response":{"text":"M0","chat_history":[{"role":"USER","message":"M1"}]}}"#,
            "assistant M0, user M1",
        ),
        (
            r#"{"event_type":"tool-calls-generation","tool_calls":[{"name":"f","parameters":{"M0":1}}]}"#,
            "tool-input M0, tool-input 1",
        ),
        (
            r#"{"event_type":"tool-calls-chunk","tool_call_delta":{"index":1,"text":"M0","parameters":"{"}}"#,
            "assistant M0 tool_call_delta[1], tool-input { tool_call_delta[1]",
        ),
        (r#"{"event_type":"tool-calls-generation","text":"M0","is_finished":false}"#, "assistant M0"),
        (
            r#"{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"M0"}]}],
                "refusal":"M1"},"logprobs":{"content":[{"token":"M9"}]}}],"service_tier":"auto"}"#,
            "reasoning M0 [0], assistant M1 refusal[0]",
        ),
        (
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"cited_text":"M0"}}}"#,
            "citation M0",
        ),
        (r#"{"messageStop":{"stopReason":"end_turn"},"later":{"M0":"M1"}}"#, "other later, other M0, other M1"),
        (r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}"#, ""),
    ];
    for (chunk, expected) in cases {
        let texts = Texts::of_chunk(chunk.as_bytes()).unwrap();
        let listed = texts.all().iter().map(|text| {
            let piece = text.piece().map(|piece| format!(" {}{:?}", piece.field, piece.numbers)).unwrap_or_default();
            format!("{} {}{piece}", text.origin.name(), text.text)
        });
        assert_eq!(listed.collect::<Vec<_>>().join(", "), expected, "{chunk}");
    }
}

/// The tokens of a text, each beside its probability, are the text once more, and cannot be judged.
#[test]
fn probabilities_of_tokens_are_left_out() {
    for chunk in [true, false] {
        let body =
            br#"{"choices":[{"index":0,"text":"hi","logprobs": {"tokens":["h","i"],"x":[1]},"stop_reason":null}]}"#;
        let texts = if chunk { Texts::of_chunk(body) } else { Texts::of_invoke_answer(body) }.unwrap();
        assert_eq!((texts.all().len(), texts.say_it_again()), (1, true));
        let left = texts.replaced(&[]);
        assert_eq!(&*left, br#"{"choices":[{"index":0,"text":"hi","logprobs": null,"stop_reason":null}]}"#);
        assert!(!Texts::of_chunk(&left).unwrap().say_it_again());
    }
}
