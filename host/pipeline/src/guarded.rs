//! Step 5, and within step 6: guard in, guard out. Every text of a request is judged before a model sees
//! it, every text of an answer before the caller does, streams as they come.

mod chunks;
mod frames;
mod passages;
mod stream;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kairos_dialects::bedrock::{self, jobs};
use kairos_dialects::texts::Texts;
use kairos_dialects::{Failure, Invalid, Kind};

use self::chunks::GuardedChunks;
use self::frames::GuardedFrames;
use self::stream::GuardedStream;
use crate::decode::Decoded;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::guard::{Guarding, Judged, Passing, Stop};
use crate::judgements::{Heard, Judgements};
use crate::policy::{
    Direction, Guard, Identity, InspectInput, MOST_SHOWN, Origin, Passage, Policies, PolicyError, RequestInfo, Verdict,
    World,
};
use crate::record::GuardedRecord;
use crate::upstream::{Frames, UpstreamOperation, Whole};

/// Bytes of text that are judged before other requests have their turn: about as many as one call is shown.
const AT_ONCE: usize = 2 * MOST_SHOWN;
/// Bytes that a text counts for beside its own: it has a call, however short it is.
const EACH: usize = 512;
/// Faults of a guard in one request and its answer: after that it is not asked any more, so that a guard
/// that hangs does not hold a thread up for each of many texts.
const MOST_FAULTS: u32 = 3;

/// Who judges the texts of a request and of its answer, and what was said of them so far.
pub(crate) struct Guarded {
    guarding: Guarding,
    policies: Arc<dyn Policies>,
    said: Mutex<Vec<GuardedRecord>>,
    /// What it was asked; none: that is not kept.
    kept: Option<Mutex<Judgements>>,
}

/// The guard of the slot, as one request asks it.
struct OfRequest {
    guard: Arc<dyn Guard>,
    faults: AtomicU32,
}

impl Guard for OfRequest {
    fn identity(&self) -> &Identity {
        self.guard.identity()
    }

    fn hold_back(&self) -> usize {
        self.guard.hold_back()
    }

    fn inspect(&self, input: InspectInput<'_>) -> Result<Verdict, PolicyError> {
        if self.faults.load(Ordering::Relaxed) >= MOST_FAULTS {
            return Err(PolicyError::NotRun(format!("it failed {MOST_FAULTS} times in this request")));
        }
        let given = self.guard.inspect(input);
        if matches!(given, Err(PolicyError::Fault(_))) {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        given
    }
}

/// A body after it was judged.
struct Checked {
    body: Bytes,
    stopped: Option<Stop>,
}

impl Guarded {
    /// By the guard in the slot, and the native one where that has no opinion; by the native one where
    /// nothing is in the slot. None: nobody judges.
    pub(crate) fn of(gateway: &Gateway, request: &Arc<RequestInfo>) -> Option<Self> {
        let native = gateway.native_guard.clone();
        let (guard, native) = match gateway.policies.guard() {
            Some(guard) => (Arc::new(OfRequest { guard, faults: AtomicU32::new(0) }) as Arc<dyn Guard>, native),
            None => (native?, None),
        };
        let (on_failure, request) = (gateway.settings.guard_on_failure, Arc::clone(request));
        let guarding = Guarding { guard, native, on_failure, request };
        let keeps = gateway.recorder.as_ref().is_some_and(|recorder| recorder.keeps_content());
        let (policies, kept) = (Arc::clone(&gateway.policies), keeps.then(Mutex::default));
        Some(Self { guarding, policies, said: Mutex::default(), kept })
    }

    /// A passage begins, of which is kept what is heard, where that is kept.
    fn heard(&self, passage: Passage) -> Option<Box<Heard>> {
        self.kept.is_some().then(|| Box::new(Heard::new(passage)))
    }

    /// Takes down what was heard of a passage, and what was said of it.
    fn keep(&self, heard: Option<Box<Heard>>, judged: &Judged, stopped: Option<Stop>) {
        let Some((kept, heard)) = self.kept.as_ref().zip(heard) else { return };
        let Guarding { guard, native, request, .. } = &self.guarding;
        let native = native.as_ref().filter(|_| judged.declined).map(|native| native.identity());
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_all(heard.judgements(guard.identity(), native, request, judged, stopped));
    }

    /// What it was asked, to be taken once.
    pub(crate) fn judgements(&self) -> Judgements {
        let kept =
            self.kept.as_ref().map(|kept| std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner)));
        kept.unwrap_or_default()
    }

    /// Takes down what was said of a passage.
    fn add(&self, direction: Direction, judged: &Judged, stopped: Option<Stop>) {
        let by = self.judge(judged);
        if let Some(PolicyError::Fault(fault)) = &judged.failure {
            self.policies.failed(World::Guard, by, fault);
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let known = said.iter_mut().find(|one| one.direction == direction.name() && one.policy == judged.by);
        let record = match known {
            Some(known) => known,
            None => {
                said.push(GuardedRecord {
                    direction: direction.name(),
                    policy: Arc::clone(&judged.by),
                    findings: Vec::new(),
                    replaced: false,
                    stopped: None,
                    unseen: false,
                });
                let last = said.len() - 1;
                &mut said[last]
            }
        };
        for &(code, count) in &judged.findings {
            let name = name(by, code);
            match record.findings.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum = sum.saturating_add(count),
                None => record.findings.push((name, count)),
            }
        }
        record.replaced |= judged.replaced;
        record.unseen |= judged.unseen;
        if let Some(stop) = stopped {
            record.stopped.get_or_insert_with(|| why(by, stop));
        }
    }

    /// Who judged a passage.
    fn judge(&self, judged: &Judged) -> &Identity {
        let native = self.guarding.native.as_deref().map(Guard::identity);
        native.filter(|native| *native.label() == judged.by).unwrap_or_else(|| self.guarding.guard.identity())
    }

    /// What was said of all.
    pub(crate) fn records(&self) -> Vec<GuardedRecord> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Judges the texts of a body. From where nothing passes any more, of an answer, they are empty.
    /// Those in which the caller had a part are a user's, wherever they stand.
    async fn check(&self, direction: Direction, texts: &Texts<'_>, body: &Bytes, of_caller: &[Arc<str>]) -> Checked {
        let (mut changed, mut stopped, mut bytes) = (Vec::new(), None, 0);
        for (number, text) in texts.all().iter().enumerate() {
            if stopped.is_some() {
                changed.push((number, String::new()));
                continue;
            }
            let index = u32::try_from(number).unwrap_or(u32::MAX);
            let is_of_caller = of_caller.iter().any(|of_caller| **of_caller == *text.text);
            let origin = if is_of_caller { Origin::User } else { text.origin };
            let passage = Passage { direction, origin, index };
            let (mut open, mut heard) = (self.guarding.open(passage), self.heard(passage));
            let mut passing = String::with_capacity(text.text.len());
            bytes += EACH;
            for part in text.text.as_bytes().chunks(MOST_SHOWN) {
                bytes += part.len();
                if bytes > AT_ONCE {
                    bytes = 0;
                    tokio::task::yield_now().await;
                }
                let Passing { text, stopped } = open.push(part);
                passing.push_str(&text);
                if stopped.is_some() {
                    break;
                }
            }
            let (rest, judged) = open.finish();
            passing.push_str(&rest.text);
            stopped = rest.stopped;
            self.add(direction, &judged, stopped);
            if let Some(heard) = &mut heard {
                heard.hear(&text.text, &passing);
            }
            self.keep(heard, &judged, stopped);
            if stopped.is_some() && direction == Direction::Input {
                break;
            }
            if passing != *text.text {
                changed.push((number, passing));
            }
        }
        let body = if changed.is_empty() && !texts.say_it_again() { body.clone() } else { texts.replaced(&changed) };
        Checked { body, stopped }
    }
}

/// Step 5: the texts of a request, before a model sees them. What is replaced is said.
pub(crate) async fn request(
    exchange: &mut Exchange,
    mut request: Box<Decoded>,
    guarded: Guarded,
) -> Result<Box<Decoded>, Failure> {
    let guarded = Arc::new(guarded);
    exchange.guarded = Some(Arc::clone(&guarded));
    // Of a job what the model is given: where its result goes is for nobody to judge.
    let judged = if request.job.is_some() { jobs::model_input(&request.body)? } else { request.body.clone() };
    let texts = match request.upstream {
        UpstreamOperation::Converse | UpstreamOperation::ConverseStream => Texts::of_converse(&judged),
        UpstreamOperation::Invoke | UpstreamOperation::InvokeStream => Texts::of_invoke(&judged),
        UpstreamOperation::StartAsync => Texts::of_job(&judged),
    }?;
    let Checked { mut body, stopped } = guarded.check(Direction::Input, &texts, &judged, &request.of_caller).await;
    drop(texts);
    if request.job.is_some() {
        let input = std::str::from_utf8(&body).map_err(|_| Failure::new(Kind::Internal, "the guard's text is none"))?;
        body = jobs::with_model_input(&request.body, input)?;
    }
    if stopped.is_some() {
        return Err(refused(&guarded));
    }
    if guarded.records().iter().any(|said| said.unseen) {
        exchange.warn("the guard did not judge all of the request: some of it passed unseen");
    }
    if body == request.body {
        return Ok(request);
    }
    for said in guarded.records().iter().filter(|said| said.replaced) {
        let found: Vec<_> = said.findings.iter().map(|(name, count)| format!("{count} {name}")).collect();
        exchange.warn(&format!("the guard {} replaced in the request: {}", said.policy, found.join(", ")));
    }
    request.body = body;
    if matches!(request.upstream, UpstreamOperation::Converse | UpstreamOperation::ConverseStream) {
        let read = bedrock::outline(&request.body, request.streams)?;
        (request.outline.text_bytes, request.outline.prompt) = (read.text_bytes, read.prompt);
        request.outline.system = read.system;
    }
    if let Some(body) = request.pieces {
        // Other texts have other tokens and pieces.
        let read = bedrock::pieces::outline(body, &request.body)?;
        (request.outline.text_bytes, request.outline.prompt) = (read.text_bytes, read.prompt);
        (request.outline.units, request.outline.least_units) = (read.units, read.least_units);
    }
    Ok(request)
}

/// The name of a code of the guard that gave it.
fn name(by: &Identity, code: u32) -> Arc<str> {
    by.reason(code).cloned().unwrap_or_else(|| code.to_string().into())
}

fn why(by: &Identity, stop: Stop) -> String {
    match stop {
        Stop::Blocked(code) => name(by, code).to_string(),
        Stop::Failed(undecided) => format!("the guard did not judge: {}", undecided.name()),
        Stop::NotText => "not UTF-8".to_owned(),
    }
}

fn refused(guarded: &Guarded) -> Failure {
    let said = guarded.records();
    let last = said.iter().find_map(|said| Some((&said.policy, said.stopped.as_ref()?)));
    let (by, why) = last.map_or(("", ""), |(by, why)| (by.split('@').next().unwrap_or_default(), why));
    Failure::new(Kind::RefusedByPolicy, format!("the guard {by} let the request not pass: {why}"))
}

/// A whole answer, before the caller sees it.
pub(crate) async fn answer(exchange: &Exchange, request: &Decoded, whole: Whole) -> Result<Whole, Invalid> {
    let Some(guarded) = exchange.guarded.clone() else { return Ok(whole) };
    let converses = matches!(request.upstream, UpstreamOperation::Converse | UpstreamOperation::ConverseStream);
    let texts = if converses { Texts::of_converse_answer(&whole.body) } else { Texts::of_invoke_answer(&whole.body) }?;
    let Checked { mut body, stopped } = guarded.check(Direction::Output, &texts, &whole.body, &[]).await;
    drop(texts);
    if stopped.is_some() {
        body = if converses { bedrock::stopped_by_guard(&body) } else { bedrock::chunks::stopped(&body, true) }?;
    }
    Ok(Whole { body, ..whole })
}

/// A stream, its texts judged as they come.
pub(crate) fn stream(exchange: &Exchange, request: &Decoded, frames: Box<dyn Frames>) -> Box<dyn Frames> {
    let Some(guarded) = exchange.guarded.clone() else { return frames };
    if request.upstream == UpstreamOperation::InvokeStream {
        Box::new(GuardedStream::new(GuardedChunks::new(guarded), frames))
    } else {
        Box::new(GuardedStream::new(GuardedFrames::new(guarded), frames))
    }
}
