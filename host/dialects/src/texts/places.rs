//! What is text in which place of a body. What is not named here is.

use super::Origin;

/// How a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing in it is text.
    Skip,
    /// An object, or a list of them, whose fields are known; a string in its place is text. Without an
    /// origin it is of who speaks.
    Node(Place, Option<Origin>),
    /// All strings in it are text, its keys are not.
    Values(Origin),
    /// All keys and strings in it are text, and numbers, where they are wanted.
    Json { origin: Origin, numbers: bool },
    /// A string that holds such JSON, or a text; or JSON itself.
    Holds { origin: Origin, numbers: bool },
    /// A string that is text, unless what stands beside it says that it is media or sealed.
    Depends(Origin),
    /// A string that is text, unless it is media within an address.
    Address,
    /// A string that goes on in other chunks of a stream; what is no string is whole.
    Piece(Origin),
    /// What says the same as a text once more, piece by piece, so that nobody can judge it: it is left out.
    Again,
}

/// An object whose fields are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Converse,
    ConverseAnswer,
    Invoke,
    InvokeAnswer,
    /// What a job is given, and every object within it.
    Job,
    /// Who speaks, and what.
    Message,
    /// A block of content, Converse's or Claude's.
    Block,
    /// Images, video and sound.
    Media,
    /// Where they, or a document, come from.
    Source,
    Document,
    /// A call of a tool.
    ToolUse,
    /// A call of a tool, as chats write it.
    ToolCall,
    ToolResult,
    /// What a tool is.
    Tool,
    ToolConfig,
    /// A text for a guardrail.
    Guarded,
    Reasoning,
    Cited,
    /// What an answer has to look like.
    Format,
    /// The answer's message, and what stands around it.
    Output,
    /// One of several answers.
    Choice,
    /// What an embedding or an image is made of.
    Made,
    /// A chunk of a stream of InvokeModel.
    Chunk,
    /// What a chunk adds to a block of content.
    Delta,
    /// What it adds to a thought.
    ThoughtDelta,
    /// What it adds to a call of a tool.
    CallDelta,
    /// What it adds to one of several answers.
    ChoiceDelta,
    /// What it adds to a message.
    MessageDelta,
}

const OTHER: Rule = Rule::Values(Origin::Other);
const FREE: Rule = Rule::Json { origin: Origin::Other, numbers: false };

fn text(origin: Origin) -> Option<Rule> {
    Some(Rule::Values(origin))
}

fn node(place: Place, origin: Origin) -> Option<Rule> {
    Some(Rule::Node(place, Some(origin)))
}

fn arguments(origin: Origin) -> Option<Rule> {
    Some(Rule::Json { origin, numbers: true })
}

/// How the value of a field is read; none where the field is not known.
pub(super) fn rule(place: Place, field: &str) -> Option<Rule> {
    match place {
        Place::Converse => converse(field),
        Place::ConverseAnswer => converse_answer(field),
        Place::Invoke => invoke(field),
        Place::InvokeAnswer => invoke_answer(field),
        Place::Job => job(field),
        Place::Message => message(field),
        Place::Block => block(field),
        Place::Media => match field {
            "source" => node(Place::Source, Origin::Other),
            "format" | "bytes" | "data" => Some(Rule::Skip),
            "url" => Some(Rule::Address),
            _ => None,
        },
        Place::Source => match field {
            "type" | "media_type" | "s3Location" | "file_id" => Some(Rule::Skip),
            "bytes" | "data" => Some(Rule::Depends(Origin::Document)),
            "url" => Some(Rule::Address),
            "text" => text(Origin::Document),
            "content" => node(Place::Block, Origin::Document),
            _ => None,
        },
        Place::Document => match field {
            "format" => Some(Rule::Skip),
            "source" => node(Place::Source, Origin::Document),
            "name" | "context" | "citations" => text(Origin::Document),
            _ => None,
        },
        Place::ToolUse => match field {
            "toolUseId" | "name" | "type" => Some(Rule::Skip),
            "input" => arguments(Origin::ToolInput),
            _ => None,
        },
        Place::ToolCall => match field {
            "id" | "type" | "name" | "index" => Some(Rule::Skip),
            "function" => node(Place::ToolCall, Origin::ToolInput),
            "arguments" => Some(Rule::Holds { origin: Origin::ToolInput, numbers: true }),
            "parameters" => arguments(Origin::ToolInput),
            _ => None,
        },
        Place::ToolResult => match field {
            "toolUseId" | "status" | "type" => Some(Rule::Skip),
            "content" => node(Place::Block, Origin::ToolResult),
            _ => None,
        },
        Place::Tool => tool(field),
        Place::ToolConfig => match field {
            "tools" => node(Place::Tool, Origin::ToolDefinition),
            "toolChoice" => Some(Rule::Skip),
            _ => None,
        },
        Place::Guarded => match field {
            "text" => Some(Rule::Node(Place::Guarded, None)),
            "qualifiers" => Some(Rule::Skip),
            "image" => node(Place::Media, Origin::Other),
            _ => None,
        },
        Place::Reasoning => match field {
            "reasoningText" => node(Place::Reasoning, Origin::Reasoning),
            "text" => text(Origin::Reasoning),
            "signature" | "redactedContent" => Some(Rule::Skip),
            _ => None,
        },
        Place::Made => made(field),
        Place::Cited => match field {
            "content" => Some(Rule::Node(Place::Block, None)),
            "citations" => text(Origin::Citation),
            _ => None,
        },
        Place::Format => match field {
            "type" | "name" | "strict" => Some(Rule::Skip),
            "textFormat" | "structure" | "jsonSchema" | "json_schema" => node(Place::Format, Origin::ToolDefinition),
            "schema" => Some(Rule::Holds { origin: Origin::ToolDefinition, numbers: false }),
            "description" => text(Origin::ToolDefinition),
            _ => None,
        },
        Place::Output => match field {
            "message" => Some(Rule::Node(Place::Message, None)),
            _ => None,
        },
        Place::Choice => match field {
            "message" | "delta" => Some(Rule::Node(Place::Message, None)),
            "text" | "outputText" => text(Origin::Assistant),
            "logprobs" => Some(Rule::Again),
            "finish_reason" | "stop_reason" | "completionReason" | "index" | "tokenCount" => Some(Rule::Skip),
            _ => None,
        },
        Place::Chunk => chunk(field).or_else(|| invoke_answer(field)),
        Place::Delta => delta(field).or_else(|| block(field)),
        Place::ThoughtDelta => match field {
            "text" => Some(Rule::Piece(Origin::Reasoning)),
            "reasoningText" => node(Place::ThoughtDelta, Origin::Reasoning),
            "signature" | "redactedContent" | "type" => Some(Rule::Skip),
            _ => None,
        },
        Place::CallDelta => match field {
            "arguments" | "input" | "parameters" => Some(Rule::Piece(Origin::ToolInput)),
            "text" => Some(Rule::Piece(Origin::Assistant)),
            "function" => node(Place::CallDelta, Origin::ToolInput),
            "toolUseId" | "id" | "type" | "name" | "index" => Some(Rule::Skip),
            _ => None,
        },
        Place::ChoiceDelta => match field {
            "delta" | "message" => node(Place::MessageDelta, Origin::Assistant),
            "text" | "outputText" => Some(Rule::Piece(Origin::Assistant)),
            _ => rule(Place::Choice, field),
        },
        Place::MessageDelta => match field {
            "content" => node(Place::Delta, Origin::Assistant),
            "reasoning_content" | "reasoning" => node(Place::ThoughtDelta, Origin::Reasoning),
            "refusal" => Some(Rule::Piece(Origin::Assistant)),
            "tool_calls" | "function_call" => node(Place::CallDelta, Origin::ToolInput),
            _ => message(field),
        },
    }
}

/// A chunk, of whatever family. What is written in pieces is listed here, and in the deltas; any other
/// text is whole within its chunk.
fn chunk(field: &str) -> Option<Rule> {
    match field {
        "delta" | "content_block" | "contentBlockDelta" | "contentBlockStart" => node(Place::Delta, Origin::Assistant),
        "outputs" | "choices" => node(Place::ChoiceDelta, Origin::Assistant),
        "generation" | "completion" | "outputText" | "text" => Some(Rule::Piece(Origin::Assistant)),
        "tool_call_delta" => node(Place::CallDelta, Origin::ToolInput),
        // What Claude's stream begins with, and what Cohere's repeats at its end.
        "message" | "response" => node(Place::InvokeAnswer, Origin::Assistant),
        "messageStart" | "messageStop" | "metadata" => node(Place::ConverseAnswer, Origin::Other),
        "contentBlockStop" | "index" | "event_type" | "is_finished" | "completionReason" => Some(Rule::Skip),
        _ => None,
    }
}

fn delta(field: &str) -> Option<Rule> {
    match field {
        "text" => Some(Rule::Node(Place::Delta, None)),
        "thinking" | "reasoningContent" => node(Place::ThoughtDelta, Origin::Reasoning),
        "partial_json" => Some(Rule::Piece(Origin::ToolInput)),
        "toolUse" => node(Place::CallDelta, Origin::ToolInput),
        "toolResult" => node(Place::Delta, Origin::ToolResult),
        "delta" | "start" => node(Place::Delta, Origin::Assistant),
        "citation" => text(Origin::Citation),
        "index" | "contentBlockIndex" | "stop_reason" | "toolUseId" | "status" => Some(Rule::Skip),
        _ => None,
    }
}

/// Parts of what is embedded, and of what an image is made of. Media is no text, whatever it is within.
fn made(field: &str) -> Option<Rule> {
    match field {
        "text" | "content" => node(Place::Made, Origin::User),
        "value" | "inputText" | "negativeText" | "maskPrompt" => text(Origin::User),
        "image_url" => Some(Rule::Address),
        "image" | "images" | "audio" | "video" | "mediaSource" | "maskImage" | "referenceImage" | "conditionImage"
        | "sourceImage" | "type" | "truncationMode" | "embeddingPurpose" | "controlMode" => Some(Rule::Skip),
        _ => None,
    }
}

fn converse(field: &str) -> Option<Rule> {
    match field {
        "messages" => Some(Rule::Node(Place::Message, None)),
        "system" => node(Place::Block, Origin::System),
        "toolConfig" => node(Place::ToolConfig, Origin::ToolDefinition),
        "inferenceConfig" | "additionalModelResponseFieldPaths" => Some(OTHER),
        "promptVariables" => Some(Rule::Json { origin: Origin::User, numbers: false }),
        "additionalModelRequestFields" | "requestMetadata" => Some(FREE),
        "outputConfig" => node(Place::Format, Origin::Other),
        "guardrailConfig" | "performanceConfig" | "serviceTier" => Some(Rule::Skip),
        _ => None,
    }
}

fn converse_answer(field: &str) -> Option<Rule> {
    match field {
        "output" => node(Place::Output, Origin::Other),
        "additionalModelResponseFields" => Some(FREE),
        "trace" => Some(OTHER),
        "stopReason" | "usage" | "metrics" | "performanceConfig" | "serviceTier" => Some(Rule::Skip),
        _ => None,
    }
}

fn invoke(field: &str) -> Option<Rule> {
    match field {
        "messages" | "chat_history" => Some(Rule::Node(Place::Message, None)),
        "system" => node(Place::Block, Origin::System),
        "preamble" => text(Origin::System),
        "prompt" | "inputText" | "message" | "texts" | "query" | "negative_prompt" | "search_prompt"
        | "select_prompt" => text(Origin::User),
        "inputs"
        | "text"
        | "text_image"
        | "singleEmbeddingParams"
        | "textToImageParams"
        | "inPaintingParams"
        | "outPaintingParams"
        | "imageVariationParams"
        | "colorGuidedGenerationParams"
        | "backgroundRemovalParams"
        | "virtualTryOnParams" => node(Place::Made, Origin::User),
        "tools" => node(Place::Tool, Origin::ToolDefinition),
        "toolConfig" => node(Place::ToolConfig, Origin::ToolDefinition),
        "tool_results" => arguments(Origin::ToolResult),
        "documents" => Some(Rule::Json { origin: Origin::Document, numbers: false }),
        "textGenerationConfig" | "inferenceConfig" | "thinking" => Some(OTHER),
        "response_format" | "output_config" => node(Place::Format, Origin::Other),
        "metadata" => Some(FREE),
        "anthropic_version" | "anthropic_beta" | "schemaVersion" | "tool_choice" | "images" | "inputImage"
        | "image" | "mask" | "init_image" | "style_image" | "audio" | "video" | "mediaSource" | "taskType"
        | "inputType" | "input_type" | "truncate" | "embedding_types" | "embeddingTypes" => Some(Rule::Skip),
        _ => None,
    }
}

fn job(field: &str) -> Option<Rule> {
    match field {
        "text" | "inputText" | "prompt" => text(Origin::User),
        "textToVideoParams"
        | "multiShotAutomatedParams"
        | "multiShotManualParams"
        | "shots"
        | "image"
        | "images"
        | "audio"
        | "video"
        | "source"
        | "mediaSource"
        | "videoGenerationConfig" => node(Place::Job, Origin::Other),
        "taskType" | "inputType" | "format" | "dimension" | "s3Location" | "bytes" | "base64String"
        | "embeddingOption" | "embeddingScope" | "embeddingType" | "segmentation" | "textTruncate" => Some(Rule::Skip),
        _ => None,
    }
}

fn invoke_answer(field: &str) -> Option<Rule> {
    match field {
        "content" => node(Place::Block, Origin::Assistant),
        "output" => node(Place::Output, Origin::Other),
        "results" | "outputs" | "choices" => node(Place::Choice, Origin::Assistant),
        "generation" | "completion" | "completions" | "generations" | "text" | "outputText" => text(Origin::Assistant),
        "prompt" | "texts" => text(Origin::User),
        "chat_history" => Some(Rule::Node(Place::Message, None)),
        "tool_calls" => node(Place::ToolCall, Origin::ToolInput),
        "citations" => text(Origin::Citation),
        "documents" => text(Origin::Document),
        "amazon-bedrock-trace" => Some(OTHER),
        "id"
        | "model"
        | "type"
        | "role"
        | "object"
        | "created"
        | "usage"
        | "metrics"
        | "stopReason"
        | "stop_reason"
        | "finish_reason"
        | "generation_id"
        | "response_id"
        | "embedding"
        | "embeddings"
        | "embeddingsByType"
        | "images"
        | "service_tier"
        | "system_fingerprint"
        | "amazon-bedrock-guardrailAction"
        | "amazon-bedrock-invocationMetrics" => Some(Rule::Skip),
        "token_likelihoods" => Some(Rule::Again),
        _ => None,
    }
}

fn message(field: &str) -> Option<Rule> {
    match field {
        "role" | "id" | "type" | "model" | "stop_reason" | "tool_call_id" => Some(Rule::Skip),
        "content" => Some(Rule::Node(Place::Block, None)),
        "message" => Some(Rule::Node(Place::Message, None)),
        "reasoning_content" => text(Origin::Reasoning),
        "tool_calls" => node(Place::ToolCall, Origin::ToolInput),
        "tool_results" => arguments(Origin::ToolResult),
        _ => None,
    }
}

fn block(field: &str) -> Option<Rule> {
    match field {
        "text" | "content" => Some(Rule::Node(Place::Block, None)),
        "image" | "video" | "audio" | "input_audio" | "image_url" => node(Place::Media, Origin::Other),
        "document" => node(Place::Document, Origin::Document),
        "searchResult" => node(Place::Block, Origin::Document),
        "toolUse" => node(Place::ToolUse, Origin::ToolInput),
        "toolResult" => node(Place::ToolResult, Origin::ToolResult),
        "json" => arguments(Origin::ToolResult),
        "guardContent" => Some(Rule::Node(Place::Guarded, None)),
        "reasoningContent" => node(Place::Reasoning, Origin::Reasoning),
        "citationsContent" => Some(Rule::Node(Place::Cited, None)),
        "source" => node(Place::Source, Origin::Document),
        "title" | "context" => text(Origin::Document),
        "input" => arguments(Origin::ToolInput),
        "thinking" => text(Origin::Reasoning),
        "data" => Some(Rule::Depends(Origin::Reasoning)),
        "citations" => text(Origin::Citation),
        "cachePoint" | "cache_control" | "type" | "id" | "name" | "tool_use_id" | "signature" | "encrypted_content" => {
            Some(Rule::Skip)
        }
        _ => None,
    }
}

fn tool(field: &str) -> Option<Rule> {
    match field {
        "toolSpec" | "function" => node(Place::Tool, Origin::ToolDefinition),
        "inputSchema" | "input_schema" | "parameters" | "parameter_definitions" | "input_examples" => {
            Some(Rule::Json { origin: Origin::ToolDefinition, numbers: false })
        }
        "description" | "systemTool" => text(Origin::ToolDefinition),
        "name" | "type" | "strict" | "cachePoint" | "cache_control" => Some(Rule::Skip),
        _ => None,
    }
}

/// Fields of one object that several texts go on in at once, told apart by name. What all else is
/// within does not matter: a text is the same one, whether it stands in a list of blocks or alone.
pub(super) fn known(field: &str) -> Option<&'static str> {
    ["reasoning", "reasoning_content", "refusal", "function_call", "tool_call_delta"]
        .into_iter()
        .find(|known| *known == field)
}
