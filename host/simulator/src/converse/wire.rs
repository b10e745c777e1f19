//! The requests of Converse, ConverseStream and CountTokens as they stand on the wire.
//!
//! As AWS's parsers do: unknown fields are skipped, null means absent, and a value of the wrong type
//! is an error. What the values mean is not known here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// A string that borrows from the body where it can; a bare `Option<Cow>` never would.
#[derive(serde::Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(transparent)]
pub(crate) struct Str<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl std::ops::Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Structures all of whose members may be absent.
///
/// Deriving would read them from lists too, member by member, which no parser of AWS's does.
macro_rules! shapes {
    ($($(#[$meta:meta])* $name:ident { $($field:ident $key:literal: $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(crate) struct $name<'a> {
            $(pub(crate) $field: Option<$type>,)*
        }

        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members<'a>(PhantomData<&'a ()>);

                impl<'de: 'a, 'a> Visitor<'de> for Members<'a> {
                    type Value = $name<'a>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a structure")
                    }

                    fn visit_map<A: MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        let mut out = $name::default();
                        while let Some(key) = map.next_key::<Str<'de>>()? {
                            match &*key {
                                $($key => out.$field = map.next_value()?,)*
                                _ => {
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(out)
                    }
                }

                deserializer.deserialize_map(Members(PhantomData))
            }
        }
    )*};
}

shapes! {
    /// The whole request; CountTokens sends part of it.
    Request {
        messages "messages": Vec<Message<'a>>,
        system "system": Vec<System<'a>>,
        inference_config "inferenceConfig": Inference<'a>,
        tool_config "toolConfig": Tools<'a>,
        guardrail_config "guardrailConfig": Guardrail<'a>,
        performance_config "performanceConfig": Performance<'a>,
        service_tier "serviceTier": Tier<'a>,
        output_config "outputConfig": Output<'a>,
        response_paths "additionalModelResponseFieldPaths": Vec<Str<'a>>,
        additional_fields "additionalModelRequestFields": Value,
        request_metadata "requestMetadata": HashMap<Str<'a>, Str<'a>>,
    }
    Message { role "role": Str<'a>, content "content": Vec<Content<'a>> }
    Inference {
        max_tokens "maxTokens": i64,
        temperature "temperature": f64,
        top_p "topP": f64,
        stop_sequences "stopSequences": Vec<Str<'a>>,
    }
    Guardrail {
        id "guardrailIdentifier": Str<'a>,
        version "guardrailVersion": Str<'a>,
        trace "trace": Str<'a>,
    }
    Performance { latency "latency": Str<'a> }
    Tier { kind "type": Str<'a> }
    Output { text_format "textFormat": TextFormat<'a> }
    TextFormat { kind "type": Str<'a>, structure "structure": Structure<'a> }
    Structure { json_schema "jsonSchema": JsonSchema<'a> }
    JsonSchema { schema "schema": Str<'a> }
    Content {
        text "text": Str<'a>,
        image "image": Box<Attachment<'a>>,
        document "document": Box<Attachment<'a>>,
        video "video": Box<Attachment<'a>>,
        audio "audio": Box<Attachment<'a>>,
        tool_use "toolUse": Box<ToolUse<'a>>,
        tool_result "toolResult": Box<ToolResult<'a>>,
        guard_content "guardContent": Box<Guarded<'a>>,
        cache_point "cachePoint": CachePoint<'a>,
        reasoning_content "reasoningContent": Box<Reasoning<'a>>,
        citations_content "citationsContent": Box<Citations<'a>>,
        search_result "searchResult": Box<SearchResult<'a>>,
        tool_addition "toolAddition": Box<ToolChange<'a>>,
        tool_removal "toolRemoval": Box<ToolChange<'a>>,
    }
    /// Image, document, video and audio alike.
    Attachment { format "format": Str<'a>, name "name": Str<'a>, source "source": Source<'a> }
    Source {
        bytes "bytes": Str<'a>,
        s3_location "s3Location": S3<'a>,
        text "text": Str<'a>,
        content "content": Vec<TextOnly<'a>>,
    }
    S3 { uri "uri": Str<'a> }
    TextOnly { text "text": Str<'a> }
    ToolUse { id "toolUseId": Str<'a>, name "name": Str<'a>, input "input": Value }
    ToolResult {
        id "toolUseId": Str<'a>,
        content "content": Vec<ResultPart<'a>>,
        status "status": Str<'a>,
    }
    ResultPart {
        json "json": Value,
        text "text": Str<'a>,
        image "image": Attachment<'a>,
        document "document": Attachment<'a>,
        video "video": Attachment<'a>,
        search_result "searchResult": SearchResult<'a>,
    }
    Guarded { text "text": TextOnly<'a>, image "image": Attachment<'a> }
    CachePoint { kind "type": Str<'a>, ttl "ttl": Str<'a> }
    Reasoning { text "reasoningText": TextOnly<'a>, redacted "redactedContent": Str<'a> }
    Citations { content "content": Vec<TextOnly<'a>> }
    SearchResult {
        source "source": Str<'a>,
        title "title": Str<'a>,
        content "content": Vec<TextOnly<'a>>,
    }
    ToolChange { tool "tool": Named<'a> }
    Named { name "name": Str<'a> }
    System {
        text "text": Str<'a>,
        guard_content "guardContent": Guarded<'a>,
        cache_point "cachePoint": CachePoint<'a>,
    }
    Tools { tools "tools": Vec<Tool<'a>>, choice "toolChoice": Choice<'a> }
    Tool {
        tool_spec "toolSpec": ToolSpec<'a>,
        system_tool "systemTool": Named<'a>,
        cache_point "cachePoint": CachePoint<'a>,
    }
    ToolSpec {
        name "name": Str<'a>,
        description "description": Str<'a>,
        input_schema "inputSchema": Map<String, Value>,
    }
    Choice {
        auto "auto": Map<String, Value>,
        any "any": Map<String, Value>,
        tool "tool": Named<'a>,
    }
    CountTokens { input "input": CountInput<'a> }
    CountInput {
        converse "converse": Box<Request<'a>>,
        invoke_model "invokeModel": CountInvoke<'a>,
    }
    CountInvoke { body "body": Str<'a> }
}
