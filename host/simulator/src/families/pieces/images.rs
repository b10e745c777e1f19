//! Images. Sources: AWS's pages "Amazon Nova Canvas", "Amazon Titan Image Generator G1" and "Stability AI models".
//!
//! A prompt with the word `forbidden` is held back by a filter, and not billed.

use serde_json::{Value, json};

use super::super::fields::{Fields, Result};
use super::Done;
use crate::catalogue::Piece;
use crate::usage::Usage;

/// A picture of one pixel, in base64.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn made(images: u32) -> Usage {
    let mut usage = Usage::default();
    usage.add(Piece::ImageMade, images);
    usage
}

fn is_forbidden(prompt: &str) -> bool {
    prompt.split_whitespace().any(|word| word == "forbidden")
}

pub(super) fn canvas(body: &Value) -> Result<Done> {
    let fields = Fields::of(
        body,
        &["taskType", "textToImageParams", "imageVariationParams", "backgroundRemovalParams", "imageGenerationConfig"],
    )?;
    fields.required_text("taskType")?;
    let config = fields.object("imageGenerationConfig")?;
    let images = config.map(|config| config.integer("numberOfImages", 1..=5)).transpose()?.flatten().unwrap_or(1);
    let params = fields.object("textToImageParams")?;
    let prompt = params.map(|params| params.text("text")).transpose()?.flatten().unwrap_or_default();
    if is_forbidden(prompt) {
        let why = "Some or all images were filtered";
        return Ok(Done { body: json!({"images": [], "error": why}), usage: Usage::default(), counts: false });
    }
    let pictures = vec![PIXEL; images as usize];
    Ok(Done { body: json!({"images": pictures, "error": null}), usage: made(images), counts: false })
}

pub(super) fn stability(body: &Value) -> Result<Done> {
    let known = [
        "prompt",
        "negative_prompt",
        "mode",
        "image",
        "mask",
        "strength",
        "aspect_ratio",
        "seed",
        "output_format",
        "search_prompt",
        "select_prompt",
        "style_preset",
        "creativity",
        "control_strength",
    ];
    let fields = Fields::of(body, &known)?;
    let prompt = fields.text("prompt")?.unwrap_or_default();
    if prompt.is_empty() && !fields.has("image") {
        return Err(fields.missing("prompt"));
    }
    if is_forbidden(prompt) {
        let body = json!({"images": [], "finish_reasons": ["Filter reason: prompt"], "seeds": []});
        return Ok(Done { body, usage: Usage::default(), counts: false });
    }
    let body = json!({"images": [PIXEL], "finish_reasons": [null], "seeds": [7]});
    Ok(Done { body, usage: made(1), counts: false })
}
