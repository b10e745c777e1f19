//! Embeddings. Sources: AWS's pages "Amazon Titan Embeddings Text", "Amazon Titan Multimodal Embeddings G1",
//! "Cohere Embed v3" and "v4", "TwelveLabs Marengo Embed", and Nova's "Complete embeddings request and response
//! schema". That Cohere's count is in a header only: vercel/ai#15973.

use serde_json::{Value, json};

use super::super::fields::{Fields, Result, malformed};
use super::{Done, vector};
use crate::catalogue::{Model, Piece};
use crate::error::ApiError;
use crate::tokens;
use crate::usage::Usage;

/// Texts that Cohere takes at once.
const MOST_TEXTS: usize = 96;

fn too_long(model: &Model, tokens: u32) -> Result<()> {
    if tokens <= model.max_in {
        return Ok(());
    }
    let most = model.max_in;
    Err(ApiError::validation(format!(
        "400 Bad Request: Too many input tokens. Max input tokens: {most}, request input token count: {tokens}"
    )))
}

pub(super) fn titan(model: &Model, body: &Value) -> Result<Done> {
    let fields =
        Fields::of(body, &["inputText", "inputImage", "embeddingConfig", "dimensions", "normalize", "embeddingTypes"])?;
    let takes_images = model.id.contains("image");
    let text = fields.text("inputText")?.unwrap_or_default();
    let image = fields.text("inputImage")?.filter(|_| takes_images);
    if text.is_empty() && image.is_none() {
        return Err(fields.missing("inputText"));
    }
    let usual = if takes_images || model.id.contains("v2") { 1_024 } else { 1_536 };
    let mut dimensions = fields.integer("dimensions", 1..=1_024)?.unwrap_or(usual);
    if let Some(config) = fields.object("embeddingConfig")? {
        dimensions = config.integer("outputEmbeddingLength", 256..=1_024)?.unwrap_or(dimensions);
    }
    let mut usage = Usage { input: tokens::count(text), ..Usage::default() };
    too_long(model, usage.input)?;
    if image.is_some() {
        usage.add(Piece::Image, 1);
    }
    let embedding = vector(&format!("{text}{}", image.unwrap_or_default()), dimensions);
    let mut answer = json!({"embedding": embedding, "inputTextTokenCount": usage.input});
    if model.id.contains("v2") {
        answer["embeddingsByType"] = json!({"float": answer["embedding"]});
    }
    Ok(Done { body: answer, usage, counts: true })
}

pub(super) fn nova(model: &Model, body: &Value) -> Result<Done> {
    let fields = Fields::of(body, &["schemaVersion", "taskType", "singleEmbeddingParams"])?;
    fields.word("taskType", &["SINGLE_EMBEDDING"])?.ok_or_else(|| fields.missing("taskType"))?;
    let params = fields.object("singleEmbeddingParams")?.ok_or_else(|| fields.missing("singleEmbeddingParams"))?;
    params.only(&["embeddingPurpose", "embeddingDimension", "text", "image", "audio", "video"])?;
    params.required_text("embeddingPurpose")?;
    let dimensions = params.integer("embeddingDimension", 256..=3_072)?.unwrap_or(3_072);
    let mut usage = Usage::default();
    let (kind, seed) = if let Some(text) = params.object("text")? {
        let value = text.required_text("value")?;
        usage.input = tokens::count(value);
        too_long(model, usage.input)?;
        ("TEXT", value.to_owned())
    } else if let Some(image) = params.object("image")? {
        usage.add(Piece::Image, 1);
        ("IMAGE", seconds_of(&image)?.1)
    } else if let Some(video) = params.object("video")? {
        let (seconds, seed) = seconds_of(&video)?;
        usage.add(Piece::VideoSecond, seconds);
        ("VIDEO", seed)
    } else if let Some(audio) = params.object("audio")? {
        let (seconds, seed) = seconds_of(&audio)?;
        usage.add(Piece::AudioSecond, seconds);
        ("AUDIO", seed)
    } else {
        return Err(params.missing("text"));
    };
    let embeddings = json!([{"embeddingType": kind, "embedding": vector(&seed, dimensions)}]);
    Ok(Done { body: json!({"embeddings": embeddings}), usage, counts: kind == "TEXT" })
}

/// How long a medium is, which only its bytes say, and what stands for it.
fn seconds_of(medium: &Fields<'_>) -> Result<(u32, String)> {
    let source = medium.object("source")?.ok_or_else(|| medium.missing("source"))?;
    let bytes = source.text("bytes")?.unwrap_or_default().to_owned();
    Ok((u32::try_from(bytes.len() % 30).unwrap_or(0) + 1, bytes))
}

pub(super) fn cohere(model: &Model, body: &Value) -> Result<Done> {
    let is_v4 = model.id.contains("v4");
    let fields = Fields::of(
        body,
        &["texts", "images", "inputs", "input_type", "truncate", "embedding_types", "output_dimension", "max_tokens"],
    )?;
    let kinds = ["search_document", "search_query", "classification", "clustering", "image"];
    fields.word("input_type", &kinds)?.ok_or_else(|| fields.missing("input_type"))?;
    let texts = fields.texts("texts", MOST_TEXTS)?;
    let images = fields.list("images")?.len();
    if texts.is_empty() == (images == 0) {
        return Err(malformed("#: exactly one of [texts, images] is needed"));
    }
    let dimensions = fields.integer("output_dimension", 256..=1_536)?.filter(|_| is_v4);
    let dimensions = dimensions.unwrap_or(if is_v4 { 1_536 } else { 1_024 });
    let cuts = fields.word("truncate", &["NONE", "START", "END", "LEFT", "RIGHT"])?.is_some_and(|word| word != "NONE");
    let mut usage = Usage::default();
    for text in &texts {
        let count = tokens::count(text);
        if !cuts {
            too_long(model, count)?;
        }
        usage.input = usage.input.saturating_add(count.min(model.max_in));
    }
    usage.add(Piece::Image, u32::try_from(images).unwrap_or(u32::MAX));
    let vectors: Vec<Value> = texts.iter().map(|text| vector(text, dimensions)).collect();
    let asked = fields.has("embedding_types");
    let mut answer =
        json!({"id": "embed", "texts": texts, "response_type": "embeddings_floats", "embeddings": vectors});
    if asked {
        answer["response_type"] = json!("embeddings_by_type");
        answer["embeddings"] = json!({"float": vectors});
    }
    Ok(Done { body: answer, usage, counts: true })
}

pub(super) fn marengo(model: &Model, body: &Value) -> Result<Done> {
    let fields =
        Fields::of(body, &["inputType", "inputText", "textTruncate", "mediaSource", "text", "image", "text_image"])?;
    let kind = fields.required_text("inputType")?;
    let own = fields.object(kind)?.unwrap_or_else(|| fields.clone());
    let mut usage = Usage::default();
    let text = own.text("inputText")?.unwrap_or_default();
    match kind {
        "text" => {
            too_long(model, tokens::count(own.required_text("inputText")?))?;
            usage.add(Piece::Query, 1);
        }
        "image" | "text_image" => {
            own.object("mediaSource")?.ok_or_else(|| own.missing("mediaSource"))?;
            usage.add(Piece::Image, 1);
        }
        _ => return Err(fields.wrong("inputType", "is not a valid enum value")),
    }
    let dimensions = if model.id.contains("2-7") { 1_024 } else { 512 };
    let body = json!({"data": [{"embedding": vector(text, dimensions)}]});
    Ok(Done { body, usage, counts: false })
}
