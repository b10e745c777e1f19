use jiff::civil::date;
use serde_json::{Value, json};

use super::*;
use crate::catalogue::Catalogue;

const LLAMA: &str = "meta.llama3-8b-instruct-v1:0";
const NOVA: &str = "amazon.nova-lite-v1:0";
const JURASSIC: &str = "ai21.j2-ultra-v1";
const JAMBA: &str = "ai21.jamba-1-5-large-v1:0";
const COHERE: &str = "cohere.command-r-v1:0";
const R1: &str = "deepseek.r1-v1:0";
const TITAN: &str = "amazon.titan-text-express-v1";
const MIXTRAL: &str = "mistral.mixtral-8x7b-instruct-v0:1";
const EITHER: &str = "mistral.mistral-large-2402-v1:0";
const LARGE: &str = "mistral.mistral-large-2407-v1:0";

fn complaint(model: &str, body: &Value) -> Option<String> {
    let catalogue = Catalogue::load(date(2025, 1, 1)).unwrap();
    let model = catalogue.model(catalogue.find(model).unwrap());
    let error = read(model, body).err()?;
    assert_eq!((error.status, error.name), (400, "ValidationException"));
    let message = error.message.strip_prefix("Malformed input request: ");
    let message = message.and_then(|rest| rest.strip_suffix(", please reformat your input and try again."));
    Some(message.unwrap_or(&error.message).to_owned())
}

/// Model, body, and what the validator says.
fn wrong() -> Vec<(&'static str, Value, &'static str)> {
    let chat = |extra: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let tool = json!({"function": {"name": "f"}});
    vec![
        (LLAMA, json!([]), "#: expected type: JSONObject, found: JSONArray"),
        (LLAMA, json!({}), "#: required key [prompt] not found"),
        (LLAMA, json!({"prompt": 7}), "#/prompt: expected type: String, found: Integer"),
        (LLAMA, json!({"prompt": " "}), "#/prompt: expected minLength: 1, actual: 0"),
        (LLAMA, json!({"prompt": "x", "top_k": 3}), "#: extraneous key [top_k] is not permitted"),
        (LLAMA, json!({"prompt": "x", "max_gen_len": 0}), "#/max_gen_len: 0 is not greater or equal to 1"),
        (LLAMA, json!({"prompt": "x", "max_gen_len": 8193}), "#/max_gen_len: 8193 is not less or equal to 8192"),
        (LLAMA, json!({"prompt": "x", "max_gen_len": 1.5}), "#/max_gen_len: expected type: Integer, found: Double"),
        (LLAMA, json!({"prompt": "x", "temperature": 1.5}), "#/temperature: 1.5 is not less or equal to 1"),
        (LLAMA, json!({"prompt": "x", "images": ["%"]}), "#/images: not base64: Invalid symbol 37, offset 0."),
        (TITAN, json!({}), "#: required key [inputText] not found"),
        (
            TITAN,
            json!({"inputText": "x", "textGenerationConfig": {"topK": 1}}),
            "#/textGenerationConfig: extraneous key [topK] is not permitted",
        ),
        (
            TITAN,
            json!({"inputText": "x", "textGenerationConfig": {"maxTokenCount": 8001}}),
            "#/textGenerationConfig/maxTokenCount: 8001 is not less or equal to 8000",
        ),
        (JURASSIC, json!({"prompt": "x", "max_tokens": 1}), "#: extraneous key [max_tokens] is not permitted"),
        (
            JURASSIC,
            json!({"prompt": "x", "countPenalty": {"scale": 2}}),
            "#/countPenalty/scale: 2 is not less or equal to 1",
        ),
        (
            JURASSIC,
            json!({"prompt": "x", "stopSequences": [1]}),
            "#/stopSequences/0: expected type: String, found: Integer",
        ),
        (
            JURASSIC,
            json!({"prompt": "x", "numResults": 2}),
            "#/numResults: the simulator gives one answer for each request",
        ),
        (MIXTRAL, chat(json!({})), "#: extraneous key [messages] is not permitted"),
        (MIXTRAL, json!({"prompt": "x", "top_k": 201}), "#/top_k: 201 is not less or equal to 200"),
        (EITHER, json!({"prompt": "x", "messages": []}), "#: extraneous key [messages] is not permitted"),
        (LARGE, json!({"prompt": "x"}), "#: extraneous key [prompt] is not permitted"),
        (LARGE, json!({}), "#: required key [messages] not found"),
        (LARGE, json!({"messages": []}), "#/messages: a message of the user is needed"),
        (LARGE, json!({"messages": [{"content": "x"}]}), "#/messages/0: required key [role] not found"),
        (
            LARGE,
            json!({"messages": [{"role": "robot", "content": "x"}]}),
            "#/messages/0/role: robot is not a valid enum value",
        ),
        (LARGE, json!({"messages": [{"role": "user"}]}), "#/messages/0: required key [content] not found"),
        (
            LARGE,
            json!({"messages": [{"role": "assistant", "content": "x"}]}),
            "#/messages: the first message after the system's must be the user's",
        ),
        (
            LARGE,
            json!({"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]}),
            "#/messages/0/tool_call_id: no call before it has the id a",
        ),
        (
            LARGE,
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]}),
            "#/messages/0/content/0/image_url/url: expected an image as data:image/…;base64,…",
        ),
        (LARGE, chat(json!({"tools": [tool, tool]})), "#/tools/1/function/name: f is the name of another tool"),
        (LARGE, chat(json!({"tool_choice": "soon"})), "#/tool_choice: soon is not a valid enum value"),
        (LARGE, chat(json!({"tool_choice": {"function": {"name": "g"}}})), "#/tool_choice: no tool is called g"),
        (JAMBA, chat(json!({"n": 2})), "#/n: the simulator gives one answer for each request"),
        (JAMBA, chat(json!({"max_tokens": 4097})), "#/max_tokens: 4097 is not less or equal to 4096"),
        (JAMBA, chat(json!({"temperature": 2.5})), "#/temperature: 2.5 is not less or equal to 2"),
        (COHERE, json!({}), "#: required key [message] not found"),
        (COHERE, json!({"message": "x", "prompt": "x"}), "#: extraneous key [prompt] is not permitted"),
        (COHERE, json!({"message": "x", "p": 1}), "#/p: 1 is not less or equal to 0.99"),
        (
            COHERE,
            json!({"message": "x", "chat_history": [{"role": "user", "message": "y"}]}),
            "#/chat_history/0/role: user is not a valid enum value",
        ),
        (
            COHERE,
            json!({"message": "x", "chat_history": [{"role": "CHATBOT", "message": "y"}]}),
            "#/chat_history: the first message must be of the USER",
        ),
        (
            COHERE,
            json!({"message": "x", "tool_results": [{"call": {"name": "f"}, "outputs": []}]}),
            "#/tool_results/0/call/name: no tool is called f",
        ),
        (
            COHERE,
            json!({"message": "x", "return_prompt": true}),
            "#/return_prompt: the simulator does not have this mode of Command R",
        ),
        (R1, chat(json!({})), "#: extraneous key [messages] is not permitted"),
        (R1, json!({"prompt": "x", "stop": vec!["x"; 11]}), "#/stop: expected maximum item count: 10, found: 11"),
        (NOVA, json!({}), "#: required key [messages] not found"),
        (NOVA, json!({"messages": []}), "#/messages: expected minimum item count: 1, found: 0"),
        (
            NOVA,
            json!({"messages": [{"role": "user", "content": [{"text": "x"}]}], "max_tokens": 5}),
            "#: extraneous key [max_tokens] is not permitted",
        ),
        (
            NOVA,
            json!({"schemaVersion": "messages-v2", "messages": [{"role": "user", "content": [{"text": "x"}]}]}),
            "#/schemaVersion: messages-v2 is not a valid enum value",
        ),
        (
            NOVA,
            json!({"messages": [{"role": "user", "content": [{"text": "x"}]}], "inferenceConfig": {"maxTokens": 10_001}}),
            "#/inferenceConfig/maxTokens: 10001 is not less or equal to 10000",
        ),
        (NOVA, json!({"messages": "x"}), "#/messages: expected type: JSONArray, found: String"),
    ]
}

#[test]
fn what_is_wrong_with_a_body_is_said_with_its_place() {
    for (model, body, expected) in wrong() {
        assert_eq!(complaint(model, &body).as_deref(), Some(expected), "{model} {body}");
    }
}

#[test]
fn a_model_takes_the_bodies_of_its_own_kind() {
    let chat = json!({"messages": [{"role": "user", "content": "hi"}]});
    let prompt = json!({"prompt": "hi"});
    for (model, body) in
        [(EITHER, &chat), (EITHER, &prompt), (MIXTRAL, &prompt), (LARGE, &chat), ("deepseek.v3.2", &chat)]
    {
        assert_eq!(complaint(model, body), None, "{model} {body}");
    }
}
