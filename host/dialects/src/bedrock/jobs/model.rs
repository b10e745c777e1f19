//! What a job of a model can cost, as far as its input says.
//!
//! Sources: the pages of AWS's user guides for the models (Nova Reel: "Video generation access and usage";
//! TwelveLabs Marengo Embed 2.7 and 3.0). A kind of input that is not known here is refused: nothing would
//! bound what it costs.

use serde::Deserialize;

use crate::invalid::Invalid;
use crate::outline::{Needs, Outline};
use crate::usage::{Unit, Units};

/// A model that jobs are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobModel {
    /// Nova Reel: makes videos.
    Reel,
    /// TwelveLabs Marengo: vectors of video and audio, at most so many seconds of it.
    Marengo {
        /// The longest that it takes.
        seconds: u32,
    },
}

/// Seconds of a shot, and of a whole video at most.
const SHOT: u32 = 6;
const LONGEST_VIDEO: u32 = 120;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reel {
    task_type: String,
    text_to_video_params: Option<Shot>,
    multi_shot_automated_params: Option<Shot>,
    multi_shot_manual_params: Option<Shots>,
    #[serde(default)]
    video_generation_config: Generation,
}

#[derive(Deserialize)]
struct Shot {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Shots {
    #[serde(default)]
    shots: Vec<Shot>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generation {
    duration_seconds: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marengo {
    input_type: String,
    input_text: Option<String>,
    text: Option<MarengoText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarengoText {
    input_text: Option<String>,
}

impl JobModel {
    /// The model of an id of the catalogue; none where it is not known what a job of it can cost.
    pub fn of(id: &str) -> Option<Self> {
        let is = |name: &str| id.starts_with(name);
        if is("amazon.nova-reel-v1:") {
            Some(Self::Reel)
        } else if is("twelvelabs.marengo-embed-2-7-") {
            Some(Self::Marengo { seconds: 2 * 3_600 })
        } else if is("twelvelabs.marengo-embed-3-0-") {
            Some(Self::Marengo { seconds: 4 * 3_600 })
        } else {
            None
        }
    }

    pub(super) fn outline(self, input: &str) -> Result<Outline, Invalid> {
        let mut outline = Outline { turns: 1, ..Outline::default() };
        match self {
            Self::Reel => reel(within(input)?, &mut outline)?,
            Self::Marengo { seconds } => marengo(within(input)?, seconds, &mut outline)?,
        }
        Ok(outline)
    }
}

fn within<'de, T: Deserialize<'de>>(input: &'de str) -> Result<T, Invalid> {
    Invalid::parse(input.as_bytes()).map_err(|invalid| {
        let path = invalid.path.map_or("modelInput".to_owned(), |path| format!("modelInput.{path}"));
        Invalid { path: Some(path), ..invalid }
    })
}

/// How long the video will be is in the request: so is what it costs.
fn reel(input: Reel, outline: &mut Outline) -> Result<(), Invalid> {
    let asked = input.video_generation_config.duration_seconds;
    if asked.is_some_and(|seconds| seconds > LONGEST_VIDEO) {
        let path = "modelInput.videoGenerationConfig.durationSeconds";
        return Err(Invalid::value(path, format!("a video has at most {LONGEST_VIDEO} seconds")));
    }
    let made = |seconds| Units::of(Unit::VideoSecondMade, seconds);
    let mut say = |shot: Option<Shot>| {
        if let Some(text) = shot.and_then(|shot| shot.text) {
            Outline::push_text(&mut outline.prompt, &mut outline.text_bytes, &text);
        }
    };
    let (least, most) = match &*input.task_type {
        "TEXT_VIDEO" => {
            say(input.text_to_video_params);
            (asked.unwrap_or(SHOT), asked.unwrap_or(SHOT))
        }
        "MULTI_SHOT_AUTOMATED" => {
            say(input.multi_shot_automated_params);
            (asked.unwrap_or(SHOT), asked.unwrap_or(LONGEST_VIDEO))
        }
        "MULTI_SHOT_MANUAL" => {
            let shots = input.multi_shot_manual_params.map(|manual| manual.shots).unwrap_or_default();
            let seconds = u32::try_from(shots.len()).unwrap_or(u32::MAX).saturating_mul(SHOT);
            if !(1..=LONGEST_VIDEO).contains(&seconds) {
                let most = LONGEST_VIDEO / SHOT;
                return Err(Invalid::value(
                    "modelInput.multiShotManualParams.shots",
                    format!("1 to {most} are expected"),
                ));
            }
            shots.into_iter().for_each(|shot| say(Some(shot)));
            (seconds, seconds)
        }
        _ => {
            let message = "Kairos knows TEXT_VIDEO, MULTI_SHOT_AUTOMATED and MULTI_SHOT_MANUAL: what another costs \
                           is not known before it is made";
            return Err(Invalid::unsupported("modelInput.taskType", message));
        }
    };
    (outline.least_units, outline.units) = (made(least), made(most));
    Ok(())
}

/// How long a recording is, only Bedrock finds out: it can be as long as the model takes.
fn marengo(input: Marengo, seconds: u32, outline: &mut Outline) -> Result<(), Invalid> {
    let heard = Units::of(Unit::AudioSecond, seconds);
    let exactly = match &*input.input_type {
        "text" => Some(Units::of(Unit::Query, 1)),
        "image" => Some(Units::of(Unit::Image, 1)),
        "audio" => {
            outline.units = heard;
            None
        }
        "video" => {
            // With its sound, which has a price of its own.
            outline.units = heard.plus(Units::of(Unit::VideoSecond, seconds));
            None
        }
        _ => {
            let message = "Kairos knows video, audio, image and text: what another costs is not known";
            return Err(Invalid::unsupported("modelInput.inputType", message));
        }
    };
    if let Some(units) = exactly {
        (outline.least_units, outline.units) = (units, units);
    }
    if let Some(text) = input.input_text.or_else(|| input.text?.input_text) {
        Outline::push_text(&mut outline.prompt, &mut outline.text_bytes, &text);
    }
    outline.needs.add(Needs::EMBEDDINGS);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Counted = Vec<(Unit, u32)>;

    fn units(id: &str, input: &str) -> Result<(Counted, Counted), String> {
        let outline = JobModel::of(id).unwrap().outline(input).map_err(|invalid| invalid.to_string())?;
        Ok((outline.least_units.each().collect(), outline.units.each().collect()))
    }

    #[test]
    fn what_a_job_costs_is_bounded_by_its_input() {
        use Unit::{AudioSecond, Image, Query, VideoSecond, VideoSecondMade};
        let reel = "amazon.nova-reel-v1:1";
        let made = |least, most| Ok((vec![(VideoSecondMade, least)], vec![(VideoSecondMade, most)]));
        let text = r#"{"taskType":"TEXT_VIDEO","textToVideoParams":{"text":"a cat"}}"#;
        assert_eq!(units(reel, text), made(6, 6));
        let some = r#"{"taskType":"MULTI_SHOT_AUTOMATED","videoGenerationConfig":{"durationSeconds":18}}"#;
        assert_eq!(units(reel, some), made(18, 18));
        assert_eq!(units(reel, r#"{"taskType":"MULTI_SHOT_AUTOMATED"}"#), made(6, 120));
        let manual =
            r#"{"taskType":"MULTI_SHOT_MANUAL","multiShotManualParams":{"shots":[{"text":"a"},{"text":"b"}]}}"#;
        assert_eq!(units(reel, manual), made(12, 12));
        assert_eq!(JobModel::Reel.outline(manual).unwrap().prompt, "a\nb");
        let old = "twelvelabs.marengo-embed-2-7-v1:0";
        let new = "twelvelabs.marengo-embed-3-0-v1:0";
        let video = r#"{"inputType":"video","mediaSource":{"s3Location":{"uri":"s3://b/v"}}}"#;
        assert_eq!(units(old, video), Ok((vec![], vec![(AudioSecond, 7_200), (VideoSecond, 7_200)])));
        assert_eq!(units(new, r#"{"inputType":"audio"}"#), Ok((vec![], vec![(AudioSecond, 14_400)])));
        assert_eq!(units(new, r#"{"inputType":"image"}"#), Ok((vec![(Image, 1)], vec![(Image, 1)])));
        let text = r#"{"inputType":"text","text":{"inputText":"a cat"}}"#;
        assert_eq!(units(new, text), Ok((vec![(Query, 1)], vec![(Query, 1)])));
        assert_eq!(JobModel::of(new).unwrap().outline(text).unwrap().prompt, "a cat");
    }

    #[test]
    fn what_nothing_bounds_is_refused_by_name() {
        assert_eq!(JobModel::of("amazon.nova-pro-v1:0"), None);
        let reel = |input| units("amazon.nova-reel-v1:0", input).unwrap_err();
        assert!(reel("{}").starts_with("modelInput: missing field"), "{}", reel("{}"));
        assert!(reel(r#"{"taskType":"NEW"}"#).starts_with("modelInput.taskType: Kairos knows TEXT_VIDEO"));
        let long = r#"{"taskType":"TEXT_VIDEO","videoGenerationConfig":{"durationSeconds":121}}"#;
        assert!(reel(long).contains("at most 120 seconds"));
        assert!(reel(r#"{"taskType":"MULTI_SHOT_MANUAL"}"#).contains("1 to 20 are expected"));
        let marengo = units("twelvelabs.marengo-embed-3-0-v1:0", r#"{"inputType":"smell"}"#).unwrap_err();
        assert!(marengo.starts_with("modelInput.inputType: Kairos knows video"), "{marengo}");
    }
}
