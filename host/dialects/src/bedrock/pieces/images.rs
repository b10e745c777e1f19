//! Images. Shapes: AWS's user guide, "Amazon Nova Canvas" and "Amazon Titan Image Generator G1" (one body), and
//! "Stability AI models". Each image that is made is priced.

use serde_json::Value;

use super::{Object, add_text, number, object, text};
use crate::invalid::Invalid;
use crate::outline::{Needs, Outline};
use crate::usage::{Unit, Units};

/// Images that Amazon's models make at once.
const MOST_IMAGES: u64 = 5;
/// The longest side whose price is known.
const LONGEST_SIDE: u64 = 1_024;
/// Tasks whose images are as large as the one that is given.
const SIZED_BY_INPUT: [&str; 3] = ["INPAINTING", "OUTPAINTING", "BACKGROUND_REMOVAL"];

fn making(images: u32) -> Outline {
    let units = Units::of(Unit::ImageMade, images);
    Outline { needs: Needs::IMAGE_OUTPUT, units, least_units: units, ..Outline::default() }
}

pub(super) fn canvas(fields: &Object) -> Result<Outline, Invalid> {
    let task = text(fields, "taskType")?;
    if let Some(task) = task.filter(|task| SIZED_BY_INPUT.contains(task)) {
        let message =
            format!("{task} makes an image as large as the one that it is given, so that its price is not known");
        return Err(Invalid::unsupported("taskType", message));
    }
    let config = object(fields, "imageGenerationConfig")?;
    let figure = |name: &str| -> Result<Option<u64>, Invalid> {
        match config.and_then(|config| config.get(name)).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| {
                Invalid::value(format!("imageGenerationConfig.{name}"), "a whole number that is not negative is needed")
            }),
        }
    };
    let images = figure("numberOfImages")?.unwrap_or(1);
    if images > MOST_IMAGES {
        let message = format!("there are at most {MOST_IMAGES} at once");
        return Err(Invalid::value("imageGenerationConfig.numberOfImages", message));
    }
    for side in ["width", "height"] {
        if figure(side)?.is_some_and(|pixels| pixels > LONGEST_SIDE) {
            let message = format!("larger images than {LONGEST_SIDE} x {LONGEST_SIDE} pixels have no known price");
            return Err(Invalid::unsupported(format!("imageGenerationConfig.{side}"), message));
        }
    }
    let mut outline = making(u32::try_from(images.max(1)).unwrap_or(u32::MAX));
    for params in fields.values().filter_map(Value::as_object) {
        for name in ["text", "negativeText", "maskPrompt"] {
            if let Some(Value::String(text)) = params.get(name) {
                add_text(&mut outline, text);
            }
        }
    }
    Ok(outline)
}

pub(super) fn stability(fields: &Object) -> Outline {
    let mut outline = making(1);
    for name in ["prompt", "negative_prompt", "search_prompt", "select_prompt"] {
        if let Some(Value::String(text)) = fields.get(name) {
            add_text(&mut outline, text);
        }
    }
    outline
}

/// How many images were made, at least and at most. Whether one that a filter held back is billed is not
/// known; in its place stands nothing, or an empty text.
pub(super) fn made(asked: Units, answer: &Value) -> Option<(Units, Units)> {
    let images = answer.get("images")?.as_array()?;
    let is_there = |image: &&Value| image.as_str().is_some_and(|image| !image.is_empty());
    let made = Units::of(Unit::ImageMade, number(images.iter().filter(is_there).count()));
    let reasons = answer["finish_reasons"].as_array().is_some_and(|all| all.iter().any(|why| !why.is_null()));
    let is_whole = !reasons && answer["error"].is_null() && made.count(Unit::ImageMade) > 0;
    let most = if is_whole || made.count(Unit::ImageMade) > asked.count(Unit::ImageMade) { made } else { asked };
    Some((made, most))
}
