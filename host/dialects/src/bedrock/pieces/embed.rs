//! Embeddings. Shapes: AWS's user guide, the pages "Amazon Titan Embeddings Text", "Amazon Titan Multimodal
//! Embeddings G1", "Cohere Embed v3" and "v4", "TwelveLabs Marengo Embed 2.7" and "3.0", and that of Nova,
//! "Complete embeddings request and response schema".

use serde_json::Value;

use super::{Object, add_text, has, list, number, object, text};
use crate::invalid::Invalid;
use crate::outline::{Needs, Outline};
use crate::usage::{Unit, Units};

/// The longest sound or video that Nova takes at once.
const NOVA_SECONDS: u32 = 30;

fn plain() -> Outline {
    Outline { needs: Needs::EMBEDDINGS, ..Outline::default() }
}

/// So many of a unit, for certain.
fn add(outline: &mut Outline, unit: Unit, count: u32) {
    outline.units = outline.units.plus(Units::of(unit, count));
    outline.least_units = outline.least_units.plus(Units::of(unit, count));
}

pub(super) fn titan(fields: &Object) -> Result<Outline, Invalid> {
    let mut outline = plain();
    if let Some(text) = text(fields, "inputText")? {
        add_text(&mut outline, text);
    }
    if has(fields, "inputImage") {
        add(&mut outline, Unit::Image, 1);
    }
    Ok(outline)
}

pub(super) fn nova(fields: &Object) -> Result<Outline, Invalid> {
    let mut outline = plain();
    let task = text(fields, "taskType")?;
    if task != Some("SINGLE_EMBEDDING") {
        let message = "InvokeModel takes SINGLE_EMBEDDING; what is segmented is for StartAsyncInvoke";
        return Err(Invalid::value("taskType", message));
    }
    let Some(params) = object(fields, "singleEmbeddingParams")? else {
        return Err(Invalid::value("singleEmbeddingParams", "it is missing"));
    };
    if let Some(given) = object(params, "text")? {
        if has(given, "source") {
            let message = "how long a text in S3 is, is not known before it is paid for; send it as `value`";
            return Err(Invalid::unsupported("singleEmbeddingParams.text.source", message));
        }
        if let Some(value) = text(given, "value")? {
            add_text(&mut outline, value);
        }
    }
    if let Some(image) = object(params, "image")? {
        let detail = text(image, "detailLevel")?;
        if detail.is_some_and(|detail| detail != "STANDARD_IMAGE") {
            let message = "only the price of a STANDARD_IMAGE is known";
            return Err(Invalid::unsupported("singleEmbeddingParams.image.detailLevel", message));
        }
        add(&mut outline, Unit::Image, 1);
    }
    // How long it is, no answer says.
    if has(params, "audio") || has(params, "video") {
        outline.units = outline.units.plus(Units::of(Unit::AudioSecond, NOVA_SECONDS));
    }
    if has(params, "video") {
        outline.units = outline.units.plus(Units::of(Unit::VideoSecond, NOVA_SECONDS));
    }
    Ok(outline)
}

pub(super) fn cohere(fields: &Object) -> Result<Outline, Invalid> {
    let mut outline = plain();
    for text in list(fields, "texts")? {
        let text = text.as_str().ok_or_else(|| Invalid::value("texts", "a list of strings is needed"))?;
        add_text(&mut outline, text);
    }
    let mut images = list(fields, "images")?.len();
    for input in list(fields, "inputs")? {
        let content = input["content"].as_array();
        for part in content.ok_or_else(|| Invalid::value("inputs.content", "a list is needed"))? {
            images += usize::from(part_of_an_input(&mut outline, part)?);
        }
    }
    if images > 0 {
        add(&mut outline, Unit::Image, number(images));
        // Version 4 counts an image in tokens, of which its bytes say nothing.
        outline.unbounded_input = true;
    }
    Ok(outline)
}

/// Takes a part in; says whether it is an image.
fn part_of_an_input(outline: &mut Outline, part: &Value) -> Result<bool, Invalid> {
    match part["type"].as_str() {
        Some("text") => {
            let text = part["text"].as_str();
            add_text(outline, text.ok_or_else(|| Invalid::value("inputs.content.text", "a string is needed"))?);
            Ok(false)
        }
        Some("image_url") => Ok(true),
        _ => {
            let message = "a part of an input is of the type \"text\" or \"image_url\"";
            Err(Invalid::value("inputs.content.type", message))
        }
    }
}

/// The text of version 2.7 stands beside `inputType`, that of 3.0 in an object of the type's name.
pub(super) fn marengo(fields: &Object) -> Result<Outline, Invalid> {
    let mut outline = plain();
    let kind = text(fields, "inputType")?.unwrap_or_default();
    let own = match fields.get(kind) {
        Some(Value::Object(own)) => own,
        _ => fields,
    };
    if let Some(text) = text(own, "inputText")? {
        add_text(&mut outline, text);
    }
    match kind {
        "text" => add(&mut outline, Unit::Query, 1),
        "image" => add(&mut outline, Unit::Image, 1),
        "text_image" => {
            add(&mut outline, Unit::Image, 1);
            // Whether its text is billed beside the image is not known.
            outline.units = outline.units.plus(Units::of(Unit::Query, 1));
        }
        _ => {
            let message = "InvokeModel takes \"text\", \"image\" and \"text_image\" at a known price; sound and video \
                           are for StartAsyncInvoke";
            return Err(Invalid::unsupported("inputType", message));
        }
    }
    Ok(outline)
}
