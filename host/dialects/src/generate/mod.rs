//! Kairos's own API: one prompt in, one whole answer out, alone or in batches.
//!
//! `POST /v1/generate` takes a request and gives a response; `POST /v1/generate/batch` takes
//! `{"requests": […]}`, or the bare list, and gives `{"responses": […]}` in the same order.
//!
//! # The request
//!
//! | field | |
//! |---|---|
//! | `prompt` | text, not empty; required |
//! | `model_preference` | a model's name, or `auto`; absent or null: the gateway's default model |
//! | `max_tokens` | at least 1; 4096 |
//! | `temperature` | 0 to 1; 0.7 |
//! | `top_p` | 0 to 1; 0.9 |
//! | `top_k` | 1 to 500; 250 |
//! | `stop_sequences` | a list of texts, none of them empty, at most 2,500; empty |
//! | `context` | an object, see below |
//! | `request_id` | the caller's own id, 1 to 128 printable ASCII characters; only echoed |
//! | `timestamp` | when the caller made the request, in ISO 8601; only checked |
//!
//! Any field but `prompt` may be absent or null. One that is not in this list is refused by name.
//! There are no streams: `"stream": true` is refused, and says where streams are.
//!
//! **Parameters** ([`parameters`]). A value that equals the default counts as the default, whether
//! it is written out or not: a client that is a data class sends every field. Defaults go to the
//! model only where it takes them. Other values are asked for: what the model cannot take is
//! adapted where nothing is lost (`max_tokens` above what the model gives, a `temperature` or
//! `top_p` of 1, which changes nothing), and refused by name otherwise, before it costs money. With
//! `auto`, models that cannot take what is asked for are not considered. What was sent is told in
//! the response's `metadata.parameters`.
//!
//! **Context** ([`request`]). `system` is a system prompt, `messages` are earlier turns
//! (`[{"role": "user" | "assistant", "content": "…"}]`) before the prompt. `task`, `complexity`,
//! `est_tokens`, `max_latency_ms`, `accuracy`, `cost_sensitivity`, `priority`, `fallback`, `tags`
//! (an object of texts), `prompt` (a template: `"name"` or `"name@2"`) and `prompt_variables` (an object)
//! are the hints that other dialects take in the headers `x-kairos-*`, with the same values; a hint in
//! the context wins over one in a header, which in a batch is everybody's. A template comes before the
//! system prompt and the messages; of its parameters those hold that the request leaves at their default.
//! Any other key is the application's own: it is neither read, nor sent, nor kept, and a warning
//! says so.
//!
//! # The response
//!
//! `text`, `model_used`, `tokens_used` (null where the answer does not state it), `response_time`
//! (seconds), `cost_estimate` (US dollars, of all attempts, exact: a JSON number with up to 12
//! decimal places), `request_id` (the gateway's, as in `/v1/requests/{id}`), `timestamp` (ISO 8601,
//! UTC), `cached` (false), and `metadata`: `stop_reason`, `usage`, `cost_estimated` (whether a part of
//! the cost is an upper bound), `asked_model`, `task`, `policy`, `attempts`, `parameters`,
//! `warnings`, `client_request_id`.
//!
//! # Errors
//!
//! `{"error": {"type", "message", "param", "request_id", "retryable"}}`, with a status that says the
//! same. `type` is the failure's name in records and metrics. `retryable` says whether the same
//! request may succeed shortly: never where an attempt may have been billed.
//!
//! In a batch each entry has its response, or such an object, in its place, and the status is 200:
//! an entry that is wrong or fails does not disturb the others. A body that is no batch fails whole.

pub mod answer;
pub mod batch;
pub mod error;
pub mod parameters;
pub mod request;
