//! A request as it comes in from the edge, before anything of it is believed.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kairos_dialects::failure::{Failure, Kind};
use serde::{Deserialize, Serialize};

use crate::models::ModelKind;
use crate::policy::{Complexity, Priority, Task};
use crate::prompts::{Asked, Given};
use crate::scope::Scope;

/// Kairos's id of a request. Minted here: a caller's own id is only echoed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    /// A new id. Ids of one process sort by time.
    pub fn mint() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// Reads an id as [`fmt::Display`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    /// The id of these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }

    /// The bytes of the id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id as text.
    pub fn text(&self) -> IdText {
        let mut text = [0; 36];
        self.0.hyphenated().encode_lower(&mut text);
        IdText(text)
    }
}

/// A request's id as text: what heads, records and log lines repeat, without an allocation for each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdText([u8; 36]);

impl std::ops::Deref for IdText {
    type Target = str;

    fn deref(&self) -> &str {
        // Digits and hyphens only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for IdText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

impl fmt::Debug for IdText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

impl Serialize for IdText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What the caller asks for, which also says in which dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// OpenAI's chat completions.
    ChatCompletions,
    /// OpenAI's embeddings.
    Embeddings,
    /// Kairos's own: one prompt, one whole answer.
    Generate,
    /// Bedrock's Converse.
    Converse,
    /// Bedrock's ConverseStream.
    ConverseStream,
    /// Bedrock's InvokeModel.
    Invoke,
    /// Bedrock's InvokeModelWithResponseStream.
    InvokeStream,
    /// Bedrock's StartAsyncInvoke.
    StartAsync,
}

/// The languages that callers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI's.
    OpenAi,
    /// Bedrock's own.
    Bedrock,
    /// Kairos's own.
    Kairos,
}

impl Dialect {
    /// All.
    pub const ALL: [Self; 3] = [Self::OpenAi, Self::Bedrock, Self::Kairos];

    /// The name in scopes of keys.
    pub const fn name(self) -> &'static str {
        ["openai", "bedrock", "kairos"][self as usize]
    }
}

impl Operation {
    /// Whether its body has the shape of one family, and goes to no other.
    pub fn has_own_body(self) -> bool {
        matches!(self, Self::Invoke | Self::InvokeStream | Self::StartAsync)
    }

    /// The dialect that the operation belongs to.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions | Self::Embeddings => Dialect::OpenAi,
            Self::Generate => Dialect::Kairos,
            Self::Converse | Self::ConverseStream | Self::Invoke | Self::InvokeStream | Self::StartAsync => {
                Dialect::Bedrock
            }
        }
    }

    /// Whether only the model that is named can answer: a body has the shape of one family, vectors are of one
    /// space.
    pub fn is_for_one_model(self) -> bool {
        self.has_own_body() || self == Self::Embeddings
    }

    /// Whether models of a kind are asked so.
    pub fn takes(self, kind: ModelKind) -> bool {
        match self {
            Self::StartAsync => matches!(kind, ModelKind::Embedding | ModelKind::Video),
            Self::Invoke => kind != ModelKind::Video,
            Self::Embeddings => kind == ModelKind::Embedding,
            Self::ChatCompletions | Self::Generate | Self::Converse | Self::ConverseStream | Self::InvokeStream => {
                kind == ModelKind::Chat
            }
        }
    }

    /// The name in logs and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat.completions",
            Self::Embeddings => "embeddings",
            Self::Generate => "generate",
            Self::Converse => "converse",
            Self::ConverseStream => "converse-stream",
            Self::Invoke => "invoke",
            Self::InvokeStream => "invoke-with-response-stream",
            Self::StartAsync => "start-async-invoke",
        }
    }
}

/// Who the caller says to be.
#[derive(Clone, Default)]
pub enum Presented {
    /// Nobody.
    #[default]
    Nothing,
    /// Whoever has this key.
    Bearer(Secret),
    /// Whoever signed this. It is checked by whoever knows AWS's signatures.
    Signed(Arc<dyn std::any::Any + Send + Sync>),
    /// Whoever was identified before: by the head of the request, or with the batch that it came in.
    Identified(Identified),
}

/// Proof that a caller was identified. Only the pipeline makes one, of what [`Keys`] said.
#[derive(Clone)]
pub struct Identified(pub(crate) Caller);

impl Presented {
    /// Says before the body is read what can be said of the caller: who is not known need not send it, and who
    /// is known by the head alone is not looked for again.
    pub fn glance(self, keys: &dyn Keys) -> Result<Self, Failure> {
        Ok(keys.glance(&self)?.map_or(self, |caller| Self::Identified(Identified(caller))))
    }

    /// Step 1: whose key it is.
    pub fn identify(self, keys: &dyn Keys, body: &Bytes) -> Result<Caller, Failure> {
        match self {
            Self::Identified(Identified(caller)) => Ok(caller),
            Self::Nothing | Self::Bearer(_) | Self::Signed(_) => keys.identify(&self, body),
        }
    }
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Shows it, to code that must compare or sign with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

/// A request from the edge.
pub struct Incoming {
    /// What is asked for.
    pub operation: Operation,
    /// The model in the path, decoded, where the dialect puts it there.
    pub path_model: Option<String>,
    /// Who the caller says to be.
    pub presented: Presented,
    /// Headers `x-kairos-*`, without the prefix, in lower case.
    pub hints: Vec<(String, String)>,
    /// Headers that InvokeModel passes on: a closed list, in lower case.
    pub passed_headers: Vec<(&'static str, String)>,
    /// The caller's own id of the request.
    pub client_request_id: Option<String>,
    /// The body.
    pub body: Bytes,
    /// What is held until the request is over, its caller gone or not: the body's place among all.
    pub held: Option<Box<dyn Send + Sync>>,
}

/// Who calls, once that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The key's name, for records and limits.
    pub key: Arc<str>,
    /// Its team, for limits and the ledger.
    pub team: Option<Arc<str>>,
    /// What the key may do; none: it is the operator's own, and may do everything.
    pub scope: Option<Arc<Scope>>,
}

/// Who may call.
pub trait Keys: Send + Sync {
    /// What can be said of this before its body is read: who it is, where the body has no part in that.
    fn glance(&self, presented: &Presented) -> Result<Option<Caller>, Failure>;

    /// Who presented this, with this body.
    fn identify(&self, presented: &Presented, body: &Bytes) -> Result<Caller, Failure>;
}

/// What the caller says about the request, in headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// What it is about.
    pub task: Option<Task>,
    /// The label as sent.
    pub task_label: Option<String>,
    /// How hard it is.
    pub complexity: Option<Complexity>,
    /// How many input tokens it has.
    pub estimated_tokens: Option<u32>,
    /// How soon an answer is wanted.
    pub max_latency_ms: Option<u32>,
    /// How much correctness matters.
    pub accuracy: Option<f64>,
    /// How much price matters.
    pub cost_sensitivity: Option<f64>,
    /// How soon the request matters.
    pub priority: Option<Priority>,
    /// Labels of the caller's own.
    pub tags: Tags,
    /// Whether other models may answer than the one named.
    pub any_model: bool,
    /// A template that comes before what the caller says.
    pub prompt: Option<Asked>,
    /// Values of its variables.
    pub prompt_variables: Option<Given>,
}

/// Names and values that tell requests apart.
pub type Tags = Arc<[(String, String)]>;

/// Whether there are none, which is not written down.
pub fn has_no_tags(tags: &Tags) -> bool {
    tags.is_empty()
}

/// Tags that a request may have.
pub const MOST_TAGS: usize = 16;

impl Hints {
    /// Reads the headers. Every name and value must be right: a hint that is mistyped and passed
    /// over would route, and cost, otherwise than meant.
    pub fn parse(headers: &[(String, String)]) -> Result<Self, Failure> {
        let mut hints = Self::default();
        for (place, (name, value)) in headers.iter().enumerate() {
            if headers[..place].iter().any(|(earlier, _)| earlier == name) {
                return Err(invalid(Place::Header(name), "is given twice"));
            }
            hints.read(Place::Header(name), value)?;
        }
        Ok(hints)
    }

    /// Reads the hints of a request's context over those of its headers.
    pub(crate) fn read_context(&mut self, context: &[(&'static str, String)]) -> Result<(), Failure> {
        context.iter().try_for_each(|(name, value)| self.read(Place::Context(name), value))
    }

    fn read(&mut self, place: Place<'_>, value: &str) -> Result<(), Failure> {
        match place.name() {
            "task" => {
                if !is_label(value) {
                    return Err(invalid(place, "needs 1 to 64 characters a–z, 0–9, _ or -"));
                }
                self.task = Some(Task::from_label(value));
                self.task_label = Some(value.to_owned());
            }
            "complexity" => self.complexity = Some(one_of(place, value, Complexity::ALL, Complexity::name)?),
            "priority" => self.priority = Some(one_of(place, value, Priority::ALL, Priority::name)?),
            "est-tokens" => self.estimated_tokens = Some(whole(place, value, 0)?),
            "max-latency-ms" => self.max_latency_ms = Some(whole(place, value, 1)?),
            "accuracy" => self.accuracy = Some(fraction(place, value)?),
            "cost-sensitivity" => self.cost_sensitivity = Some(fraction(place, value)?),
            "tags" => self.tags = tags(place, value)?.into(),
            "prompt" => {
                let asked = Asked::read(value, place.param());
                let needs = "needs a template's name, of a-z, 0-9 and -, or NAME@VERSION, a whole number from 1";
                self.prompt = Some(asked.ok_or_else(|| invalid(place, needs))?);
            }
            "prompt-variables" => {
                let values = serde_json::from_str(value);
                let values = values.map_err(|_| invalid(place, "needs a JSON object: {\"name\": value, …}"))?;
                self.prompt_variables = Some(Given { values, param: place.param() });
            }
            "fallback" => {
                self.any_model = match value {
                    "any" => true,
                    "none" => false,
                    _ => return Err(invalid(place, "needs any or none")),
                };
            }
            other => {
                let shown = &other[..other.floor_char_boundary(40)];
                return Err(Failure::new(
                    Kind::UnknownParameter,
                    format!(
                        "the header x-kairos-{shown} is not known; there are x-kairos-task, -complexity, -est-tokens, \
                         -max-latency-ms, -accuracy, -cost-sensitivity, -priority, -tags, -fallback, -prompt \
                         and -prompt-variables"
                    ),
                )
                .with_param(format!("x-kairos-{shown}")));
            }
        }
        Ok(())
    }
}

/// Where a hint stands.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// A header, by its name without the prefix.
    Header(&'a str),
    /// A request's context, by the same name.
    Context(&'a str),
}

impl<'a> Place<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Header(name) | Self::Context(name) => name,
        }
    }

    /// What it is called.
    fn param(self) -> String {
        match self {
            Self::Header(name) => format!("x-kairos-{name}"),
            Self::Context(name) => format!("context.{}", name.replace('-', "_")),
        }
    }
}

fn invalid(place: Place<'_>, what: &str) -> Failure {
    let shown = match place {
        Place::Header(_) => "the header ",
        Place::Context(_) => "",
    };
    let param = place.param();
    Failure::new(Kind::InvalidValue, format!("{shown}{param} {what}")).with_param(param)
}

fn is_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

fn one_of<T: Copy, const N: usize>(
    place: Place<'_>,
    value: &str,
    all: [T; N],
    label: fn(T) -> &'static str,
) -> Result<T, Failure> {
    all.into_iter().find(|&one| label(one) == value).ok_or_else(|| {
        let names: Vec<_> = all.into_iter().map(label).collect();
        invalid(place, &format!("needs one of {}", names.join(", ")))
    })
}

fn whole(place: Place<'_>, value: &str, least: u32) -> Result<u32, Failure> {
    let digits = (1..=16).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| value.parse().ok()).flatten().filter(|&number| number >= least);
    number.ok_or_else(|| invalid(place, &format!("needs a whole number, at least {least}, below 4,294,967,296")))
}

fn fraction(place: Place<'_>, value: &str) -> Result<f64, Failure> {
    let digits = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let plain = (1..=16).contains(&value.len()) && value.bytes().all(digits);
    let number = plain.then(|| value.parse().ok()).flatten().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| invalid(place, "needs a decimal number from 0 to 1, like 0.25"))
}

/// Whether a text can be the name or the value of a tag.
pub fn is_tag(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:/@".contains(c))
}

fn tags(place: Place<'_>, value: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut tags: Vec<(String, String)> = Vec::new();
    for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, text) = pair.split_once('=').unwrap_or((pair, ""));
        if key.is_empty() || !is_tag(key) || !is_tag(text) {
            return Err(invalid(
                place,
                "needs key=value pairs, separated by commas, of at most 64 characters a–z, A–Z, 0–9 and _-.:/@ each",
            ));
        }
        if tags.iter().any(|(known, _)| known == key) {
            return Err(invalid(place, "names a tag twice"));
        }
        tags.push((key.to_owned(), text.to_owned()));
    }
    if tags.len() > MOST_TAGS {
        return Err(invalid(place, "has more than 16 tags"));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Hints, String> {
        let headers: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Hints::parse(&headers).map_err(|failure| failure.message)
    }

    #[test]
    fn hints_are_read() {
        let hints = parse(&[
            ("task", "legal_review"),
            ("complexity", "high"),
            ("est-tokens", "0"),
            ("max-latency-ms", "500"),
            ("accuracy", "0.25"),
            ("cost-sensitivity", "1"),
            ("priority", "critical"),
            ("tags", "team=search, env=prod,beta"),
            ("fallback", "any"),
            ("prompt", "support@2"),
            ("prompt-variables", r#"{"question": "ü"}"#),
        ])
        .unwrap();
        assert_eq!(hints.prompt.as_ref().map(|asked| (&*asked.name, asked.version)), Some(("support", Some(2))));
        assert_eq!(hints.prompt_variables.as_ref().unwrap().values["question"], "ü");
        assert_eq!((hints.task, hints.task_label.as_deref()), (Some(Task::Other), Some("legal_review")));
        assert_eq!((hints.accuracy, hints.cost_sensitivity, hints.any_model), (Some(0.25), Some(1.0), true));
        assert_eq!(hints.tags.len(), 3);
    }

    #[test]
    fn a_requests_context_wins_over_the_headers() {
        let mut hints = parse(&[("task", "code"), ("tags", "a=1"), ("priority", "low")]).unwrap();
        let context = [("task", "analysis".to_owned()), ("tags", "b=2".to_owned())];
        hints.read_context(&context).unwrap();
        assert_eq!((hints.task, hints.priority), (Some(Task::Analysis), Some(Priority::Low)));
        assert_eq!(*hints.tags, [("b".to_owned(), "2".to_owned())]);
        let failure = hints.read_context(&[("cost-sensitivity", "-0.1".to_owned())]).unwrap_err();
        assert_eq!(failure.param.as_deref(), Some("context.cost_sensitivity"));
        assert_eq!(failure.message, "context.cost_sensitivity needs a decimal number from 0 to 1, like 0.25");
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        for (name, value) in [
            ("task", ""),
            ("task", "Code Review"),
            ("complexity", "hard"),
            ("est-tokens", "-1"),
            ("est-tokens", "1e3"),
            ("est-tokens", "99999999999"),
            ("max-latency-ms", "0"),
            ("accuracy", "nan"),
            ("accuracy", "1.5"),
            ("accuracy", "0.11111111111111111"),
            ("cost-sensitivity", "."),
            ("priority", "urgent"),
            ("tags", "a=1,a=2"),
            ("tags", "a b=1"),
            ("fallback", "yes"),
            ("prompt", ""),
            ("prompt", "Support"),
            ("prompt", "support@0"),
            ("prompt", "support@1.5"),
            ("prompt", "support@"),
            ("prompt-variables", "question=x"),
            ("prompt-variables", "[]"),
            ("tsak", "code"),
        ] {
            let message = parse(&[(name, value)]).unwrap_err();
            assert!(message.contains(&format!("x-kairos-{name}")), "{message}");
        }
        assert!(parse(&[("task", "code"), ("task", "code")]).unwrap_err().contains("given twice"));
    }
}
