//! Step 6, for streams: frames in, pieces out, until the money is known.
//!
//! Nothing of an answer goes out before its first content, so that until then another candidate can
//! answer. After that the stream is read to its end whether the caller stays or not: Bedrock bills
//! it either way.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use kairos_dialects::answer::{Event, Served};
use kairos_dialects::bedrock::{families, invoke::ChunkReader, parse_event};
use kairos_dialects::eventstream::Frame;
use kairos_dialects::openai::stream::{CONTENT_TYPE as EVENT_STREAM_SSE, ChunkWriter, KEEP_ALIVE};
use kairos_dialects::{Failure, Invalid, Kind};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::attempt::Attempt;
use crate::decode::Decoded;
use crate::encode;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::ledger::{Ending, Reserved};
use crate::money::Picodollars;
use crate::policy::Stop;
use crate::reply::Reply;
use crate::request::Dialect;
use crate::settle;
use crate::upstream::{Frames, UpstreamOperation};

const EVENT_STREAM_AWS: &str = "application/vnd.amazon.eventstream";

/// Delivers a stream. An error means that nothing of it went out, and that its row has ended.
pub(crate) async fn deliver(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &Decoded,
    attempt: &Attempt<'_>,
    reserved: Reserved,
    frames: Box<dyn Frames>,
    reply: &mut Reply,
) -> Result<(), Failure> {
    let writer = match (&request.shape, request.operation.dialect()) {
        (Some(shape), _) => {
            let head = encode::family_head(exchange, attempt.target);
            Writer::Family(families::ChunkWriter::new(Arc::clone(shape), head))
        }
        (None, Dialect::OpenAi) => {
            Writer::OpenAi(ChunkWriter::new(encode::head(exchange, attempt.target), request.include_usage))
        }
        // Kairos's own API has no streams.
        (None, Dialect::Bedrock | Dialect::Kairos) => Writer::Native,
    };
    let mut delivery = Delivery {
        reader: Reader::new(request.upstream),
        signs: SignsOfLife::new(gateway, request, exchange, reply),
        patience: gateway.settings.metadata_patience,
        writer,
        frames,
        out: Vec::new(),
        begun: false,
        parted: None,
        model: Arc::clone(&attempt.target.invocation_id),
    };
    match delivery.run(exchange, reply).await {
        Ok(()) => {}
        Err(failure) => return delivery.break_off(gateway, exchange, attempt, reserved, failure, reply).await,
    }
    let catalogue = Arc::clone(&exchange.catalogue);
    if let (Some(observed), Some(stop)) = (&mut exchange.observed, delivery.reader.stop) {
        observed.stopped(stop);
    }
    let served = delivery.reader.served();
    let ending = settle::answered(&catalogue, attempt.target, &request.outline, &served, attempt.bounds());
    if let Some(Err(failure)) = &delivery.parted {
        attempt.failed_with(gateway, exchange, reserved, failure, ending);
    } else {
        attempt.succeeded(gateway, exchange, reserved, ending);
    }
    if let Some(told) = delivery.told() {
        exchange.finish(gateway, told, Some(200));
        return Ok(());
    }
    let status = if reply.is_gone() { "client_left" } else { "ok" };
    exchange.finish(gateway, status, Some(200));
    match &mut delivery.writer {
        Writer::Native => {}
        Writer::Family(writer) => writer.finish(served.usage, encode::timing(exchange), &mut delivery.out),
        Writer::OpenAi(writer) => {
            writer.finish(served.usage, &encode::closing_comment(exchange), &mut delivery.out);
        }
    }
    delivery.flush(reply).await;
    reply.end().await;
    Ok(())
}

/// A stream on its way from Bedrock to the caller.
struct Delivery {
    frames: Box<dyn Frames>,
    reader: Reader,
    writer: Writer,
    signs: SignsOfLife,
    patience: Duration,
    /// What is written and not sent yet. Before the first content: all that came.
    out: Vec<u8>,
    begun: bool,
    /// What the caller was told as the end, where that is behind us and only the usage is to come.
    parted: Option<Result<(), Failure>>,
    model: Arc<str>,
}

/// What is kept of a stream before its first content. More comes from no model.
const MOST_BEFORE_CONTENT: usize = 1_000_000;

/// What comes next.
enum Next {
    Frame(Frame),
    End,
    Failed(Failure),
    /// Nothing at once: what is written can go out.
    Pause,
    /// Nothing for so long that the caller should hear from us.
    Idle,
    /// Nothing after the end of the message: the usage does not come.
    NoMetadata,
}

impl Delivery {
    /// Reads to the end of the stream. What is left in `out` at the end is for after the settlement.
    async fn run(&mut self, exchange: &mut Exchange, reply: &mut Reply) -> Result<(), Failure> {
        let mut metadata_by: Option<Pin<Box<Sleep>>> = None;
        loop {
            match self.next(metadata_by.as_mut()).await {
                Next::Frame(frame) => {
                    self.signs.heard();
                    let seen = match self.take(&frame) {
                        Ok(seen) => seen,
                        // What went out cannot be taken back; what it costs is still to be known.
                        Err(failure) if self.begun => {
                            self.part(Err(failure), exchange, reply).await;
                            continue;
                        }
                        Err(failure) => return Err(failure),
                    };
                    if let Some(observed) = exchange.observed.as_mut().filter(|_| seen.content) {
                        observed.content();
                    }
                    if seen.content || self.reader.stopped {
                        self.begin(exchange, reply);
                    }
                    if self.reader.stopped && metadata_by.is_none() && self.parted.is_none() {
                        metadata_by = Some(Box::pin(sleep_until(Instant::now() + self.patience)));
                    }
                    if self.reader.is_complete() {
                        return Ok(());
                    }
                }
                Next::Pause => self.flush(reply).await,
                Next::Idle => self.signs.give(exchange, reply).await,
                // The answer is whole: who asked need not wait for what it costs.
                Next::NoMetadata => {
                    metadata_by = None;
                    self.part(Ok(()), exchange, reply).await;
                }
                Next::End if self.reader.stopped => return Ok(()),
                Next::End => {
                    let message = "Bedrock's stream ended before the answer did";
                    return Err(Failure::new(Kind::BrokenStream, message).maybe_billed());
                }
                Next::Failed(failure) => return Err(failure),
            }
        }
    }

    async fn next(&mut self, mut metadata_by: Option<&mut Pin<Box<Sleep>>>) -> Next {
        let can_pause = self.begun && !self.out.is_empty();
        poll_fn(|context| {
            match self.frames.poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Next::Frame(frame)),
                Poll::Ready(Some(Err(failure))) => return Poll::Ready(Next::Failed(failure)),
                Poll::Ready(None) => return Poll::Ready(Next::End),
                Poll::Pending if can_pause => return Poll::Ready(Next::Pause),
                Poll::Pending => {}
            }
            if let Some(timer) = metadata_by.as_mut()
                && timer.as_mut().poll_elapsed(context)
            {
                return Poll::Ready(Next::NoMetadata);
            }
            self.signs.poll_idle(context).map(|()| Next::Idle)
        })
        .await
    }

    /// Reads a frame, and writes what it comes to in the caller's dialect.
    fn take(&mut self, frame: &Frame) -> Result<Seen, Failure> {
        let broken = |invalid: Invalid| {
            Failure::new(Kind::BrokenStream, format!("an event of Bedrock's stream made no sense: {invalid}"))
                .maybe_billed()
        };
        let seen = self.reader.read(frame);
        if self.parted.is_some() {
            return Ok(seen.unwrap_or(Seen { content: true }));
        }
        let seen = match &mut self.writer {
            Writer::Native => {
                self.out.extend_from_slice(&frame.raw);
                // What is not understood here may well be by the caller.
                seen.unwrap_or(Seen { content: true })
            }
            Writer::Family(writer) => {
                let seen = seen.map_err(broken)?;
                if frame.name() != "metadata" {
                    let event = parse_event(frame.name(), &frame.payload).map_err(broken)?;
                    writer.event(&event, &mut self.out);
                }
                seen
            }
            Writer::OpenAi(writer) => {
                let seen = seen.map_err(broken)?;
                if frame.name() != "metadata" {
                    let event = parse_event(frame.name(), &frame.payload).map_err(broken)?;
                    writer.event(&event, &mut self.out);
                }
                seen
            }
        };
        if !self.begun && self.out.len() > MOST_BEFORE_CONTENT {
            let message = format!("Bedrock's stream had no content within {MOST_BEFORE_CONTENT} bytes");
            return Err(Failure::new(Kind::BrokenStream, message).maybe_billed());
        }
        Ok(seen)
    }

    /// Ends the caller's stream before the usage is known.
    async fn part(&mut self, told: Result<(), Failure>, exchange: &Exchange, reply: &mut Reply) {
        match &told {
            Ok(()) => {
                match &mut self.writer {
                    Writer::Native => {}
                    Writer::Family(writer) => writer.finish(None, encode::timing(exchange), &mut self.out),
                    Writer::OpenAi(writer) => {
                        writer.finish(None, &encode::pending_comment(exchange, &self.model), &mut self.out);
                    }
                }
                self.flush(reply).await;
                reply.end().await;
            }
            Err(failure) => {
                self.flush(reply).await;
                encode::fail_stream(exchange, failure, reply).await;
            }
        }
        self.parted = Some(told);
    }

    /// How the caller was told that it ended, if that is behind us.
    fn told(&self) -> Option<&'static str> {
        self.parted.as_ref().map(|told| told.as_ref().map_or_else(|failure| failure.kind.name(), |()| "ok"))
    }

    /// The answer has begun: from here on it is this one.
    fn begin(&mut self, exchange: &mut Exchange, reply: &mut Reply) {
        if self.begun {
            return;
        }
        self.begun = true;
        exchange.first_byte();
        if !reply.has_begun() {
            let mut headers = encode::headers(exchange);
            headers.push(("x-kairos-attempts", (exchange.record.attempts.len() + 1).to_string()));
            headers.push(("x-kairos-model", self.model.to_string()));
            headers.extend(self.frames.headers().iter().cloned());
            if matches!(self.writer, Writer::Family(_)) {
                headers.push(("x-amzn-bedrock-content-type", "application/json".to_owned()));
            }
            reply.begin(200, content_type(exchange.dialect), headers);
        }
    }

    async fn flush(&mut self, reply: &mut Reply) {
        let bytes = Bytes::from(std::mem::take(&mut self.out));
        if !bytes.is_empty() {
            reply.send(bytes).await;
        }
    }

    /// The stream failed. Before its first content another candidate may answer; after it, the
    /// caller is told within the stream.
    async fn break_off(
        mut self,
        gateway: &Gateway,
        exchange: &mut Exchange,
        attempt: &Attempt<'_>,
        reserved: Reserved,
        mut failure: Failure,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        // An exception as the very first event is an error answer like any other.
        failure.unbilled &= !self.reader.started;
        let ending = match self.reader.usage_so_far() {
            Some(usage) => Ending::Estimated {
                low: Picodollars::ZERO,
                high: attempt.worst,
                usage: Some(usage),
                why: failure.kind.name(),
            },
            None => settle::failed(&failure, attempt.worst),
        };
        attempt.failed_with(gateway, exchange, reserved, &failure, ending);
        if !self.begun {
            return Err(failure);
        }
        exchange.record.model = Some(Arc::clone(&attempt.target.invocation_id));
        exchange.finish(gateway, self.told().unwrap_or(failure.kind.name()), Some(200));
        if self.parted.is_none() {
            self.flush(reply).await;
            encode::fail_stream(exchange, &failure, reply).await;
        }
        Ok(())
    }
}

/// How frames become the caller's bytes.
enum Writer {
    /// As they are.
    Native,
    /// As chunks of the family of the model that was asked for and has ended.
    Family(families::ChunkWriter),
    /// As chat completion chunks.
    OpenAi(ChunkWriter),
}

/// Follows a stream for what decides its way: content, end, usage.
struct Reader {
    kind: ReaderKind,
    /// Any event came.
    started: bool,
    /// The model said that it stopped.
    stopped: bool,
    /// Why, where it said so.
    stop: Option<Stop>,
}

enum ReaderKind {
    Converse { served: Option<Served> },
    Invoke(ChunkReader),
}

/// What a frame was.
#[derive(Clone, Copy)]
struct Seen {
    content: bool,
}

impl Reader {
    fn new(operation: UpstreamOperation) -> Self {
        let kind = match operation {
            UpstreamOperation::Converse | UpstreamOperation::ConverseStream => ReaderKind::Converse { served: None },
            UpstreamOperation::Invoke | UpstreamOperation::InvokeStream | UpstreamOperation::StartAsync => {
                ReaderKind::Invoke(ChunkReader::default())
            }
        };
        Self { kind, started: false, stopped: false, stop: None }
    }

    fn read(&mut self, frame: &Frame) -> Result<Seen, Invalid> {
        self.started = true;
        match &mut self.kind {
            ReaderKind::Converse { served } => match frame.name() {
                "contentBlockStart" | "contentBlockDelta" => Ok(Seen { content: true }),
                "messageStop" => {
                    self.stopped = true;
                    if let Ok(Event::MessageStop(reason)) = parse_event("messageStop", &frame.payload) {
                        self.stop = Some((&reason).into());
                    }
                    Ok(Seen { content: false })
                }
                "metadata" => {
                    // One that cannot be read says nothing of usage; the answer is whole all the same.
                    *served = Some(match parse_event("metadata", &frame.payload) {
                        Ok(Event::Metadata(said)) => said,
                        _ => Served::default(),
                    });
                    Ok(Seen { content: false })
                }
                _ => Ok(Seen { content: false }),
            },
            ReaderKind::Invoke(chunks) => {
                if frame.name() != "chunk" {
                    return Ok(Seen { content: false });
                }
                let chunk = chunks.read(&frame.payload)?;
                self.stopped |= chunks.ended();
                Ok(Seen { content: chunk.content })
            }
        }
    }

    /// Whether the model stopped and the usage is known.
    fn is_complete(&self) -> bool {
        self.stopped
            && match &self.kind {
                ReaderKind::Converse { served } => served.is_some(),
                ReaderKind::Invoke(chunks) => chunks.has_metrics(),
            }
    }

    fn served(&self) -> Served {
        match &self.kind {
            ReaderKind::Converse { served } => served.clone().unwrap_or_default(),
            ReaderKind::Invoke(chunks) => Served { usage: chunks.usage(), ..Served::default() },
        }
    }

    fn usage_so_far(&self) -> Option<kairos_dialects::Usage> {
        self.served().usage
    }
}

fn content_type(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => EVENT_STREAM_SSE,
        Dialect::Bedrock | Dialect::Kairos => EVENT_STREAM_AWS,
    }
}

/// Keeps a streaming caller's connection open while nothing comes: a status after a while, then
/// comments where the dialect has them.
pub(crate) struct SignsOfLife {
    every: Duration,
    due: Option<Pin<Box<Sleep>>>,
    last: Instant,
    streams: bool,
}

impl SignsOfLife {
    /// Until a caller has heard anything, the time counts from the request, whatever was tried since.
    pub(crate) fn new(gateway: &Gateway, request: &Decoded, exchange: &Exchange, reply: &Reply) -> Self {
        let every = gateway.settings.keep_alive;
        let last = if reply.has_begun() { Instant::now() } else { exchange.started };
        Self { every, due: None, last, streams: request.streams }
    }

    /// Something came.
    fn heard(&mut self) {
        self.last = Instant::now();
    }

    /// Ready when the caller has not heard anything for a while.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.streams {
            return Poll::Pending;
        }
        let (last, every) = (self.last, self.every);
        let timer = self.due.get_or_insert_with(|| Box::pin(sleep_until(last + every)));
        // The timer is moved when it fires, not at every frame.
        while timer.as_mut().poll_elapsed(context) {
            let due = last + every;
            if Instant::now() >= due {
                self.last = Instant::now();
                timer.as_mut().reset(self.last + every);
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// Resolves when the caller has not heard anything for a while.
    pub(crate) async fn idle(&mut self) {
        poll_fn(|context| self.poll_idle(context)).await;
    }

    /// Gives a sign of life.
    pub(crate) async fn give(&mut self, exchange: &Exchange, reply: &mut Reply) {
        reply.begin(200, content_type(exchange.dialect), encode::headers(exchange));
        if exchange.dialect == Dialect::OpenAi {
            reply.send(Bytes::from_static(KEEP_ALIVE)).await;
        }
    }

    /// Waits for `work`, giving signs of life meanwhile.
    pub(crate) async fn during<T>(
        mut self,
        work: impl Future<Output = T>,
        exchange: &Exchange,
        reply: &mut Reply,
    ) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let done = poll_fn(|context| match work.as_mut().poll(context) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => self.poll_idle(context).map(|()| None),
            })
            .await;
            match done {
                Some(done) => return done,
                None => self.give(exchange, reply).await,
            }
        }
    }
}

trait PollElapsed {
    fn poll_elapsed(self, context: &mut Context<'_>) -> bool;
}

impl PollElapsed for Pin<&mut Sleep> {
    fn poll_elapsed(self, context: &mut Context<'_>) -> bool {
        self.poll(context).is_ready()
    }
}
