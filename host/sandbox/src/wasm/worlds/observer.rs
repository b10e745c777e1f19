//! An observer's call: what it is told of, and what it has written.

use std::sync::Arc;

use kairos_pipeline::policy::{Answer, Ending, Event, EventKind, ObserveInput, Offer, Outcome, SeenAttempt, Stop};
use wasmtime::component::Resource;
use wasmtime::{Result, Store};

use super::super::bindings::kairos::plugin::events;
use super::super::bindings::{self, same_order, types};
use super::super::host::EventHandle;
use super::super::typed::{Exported, Function};
use super::{HostState, PluginError, Request, failure_kind};

/// The event at hand, and its models as the observer is shown them.
pub(in super::super) type AtHand = (Arc<Event>, Vec<Offer>);

/// `observe`, as the contract has it.
pub(in super::super) struct Judgement;

impl Function for Judgement {
    const INTERFACE: &'static str = "kairos:plugin/observing@0.1.0";
    const NAME: &'static str = "observe";
    type Parameters<'a> = (Request, u64, u32, Resource<EventHandle>);
    type Answer = std::result::Result<(), PluginError>;
}

pub(super) fn ask(
    exported: &Exported<Judgement>,
    store: &mut Store<HostState>,
    input: ObserveInput<'_>,
    request: Request,
) -> Result<Result<Answer, PluginError>> {
    let ObserveInput { event, models, at_ms, missed, .. } = input;
    store.data_mut().event = Some((Arc::clone(event), models.to_vec()));
    // There is one event in a call: the handle needs no table to be found by.
    let observed = exported.call(store, (request, at_ms, missed, Resource::new_borrow(0)));
    let state = store.data_mut();
    state.event = None;
    let written = std::mem::take(&mut state.kv).written();
    Ok(observed?.map(|()| Answer::Written(written)))
}

impl events::Host for HostState {}

impl events::HostEvent for HostState {
    fn kind(&mut self, _: Resource<EventHandle>) -> Result<events::EventKind> {
        Ok(kind(self.event()?.0.kind))
    }

    fn features(&mut self, _: Resource<EventHandle>) -> Result<types::Features> {
        let (event, _) = self.event()?;
        Ok(bindings::features(&event.features))
    }

    fn models(&mut self, _: Resource<EventHandle>) -> Result<Vec<types::Model>> {
        let (_, models) = self.event()?;
        Ok(models.iter().map(bindings::model).collect())
    }

    fn policy(&mut self, _: Resource<EventHandle>) -> Result<String> {
        Ok(self.event()?.0.policy.to_string())
    }

    fn reason(&mut self, _: Resource<EventHandle>) -> Result<Option<u32>> {
        Ok(self.event()?.0.reason)
    }

    fn first(&mut self, _: Resource<EventHandle>) -> Result<Option<(u32, f64)>> {
        Ok(self.event()?.0.first)
    }

    fn attempts(&mut self, _: Resource<EventHandle>) -> Result<Vec<events::Attempt>> {
        Ok(self.event()?.0.attempts.iter().map(attempt).collect())
    }

    fn ending(&mut self, _: Resource<EventHandle>) -> Result<events::Ending> {
        Ok(ending(self.event()?.0.ending))
    }

    fn stop(&mut self, _: Resource<EventHandle>) -> Result<Option<events::Stop>> {
        Ok(self.event()?.0.stop.map(stop))
    }

    fn duration_ms(&mut self, _: Resource<EventHandle>) -> Result<u32> {
        Ok(self.event()?.0.duration_ms)
    }

    fn began_at(&mut self, _: Resource<EventHandle>) -> Result<u64> {
        Ok(self.event()?.0.began_at_ms)
    }

    fn rating(&mut self, _: Resource<EventHandle>) -> Result<Option<events::Rating>> {
        let rating = self.event()?.0.rating.as_ref();
        Ok(rating.map(|rating| events::Rating { metric: rating.metric.clone(), value: rating.value }))
    }

    fn drop(&mut self, _: Resource<EventHandle>) -> Result<()> {
        Ok(())
    }
}

fn kind(kind: EventKind) -> events::EventKind {
    same_order!(kind, events::EventKind, [Ended, Rated])
}

fn ending(ending: Ending) -> events::Ending {
    same_order!(ending, events::Ending, [Answered, Cached, Local, Cut, Failed, Refused, Blocked, ClientLeft, Other])
}

fn stop(stop: Stop) -> events::Stop {
    same_order!(stop, events::Stop, [End, Length, StopText, ToolUse, Filtered, Other])
}

fn attempt(attempt: &SeenAttempt) -> events::Attempt {
    events::Attempt {
        model: attempt.model,
        outcome: match attempt.outcome {
            Outcome::Answered => events::Outcome::Answered,
            Outcome::Failed(kind) => events::Outcome::Failed(failure_kind(kind)),
            Outcome::Abandoned => events::Outcome::Abandoned,
        },
        status: attempt.status,
        retry_after_ms: attempt.retry_after_ms,
        may_be_billed: attempt.may_be_billed,
        cost: attempt.cost,
        settled: attempt.settled,
        duration_ms: attempt.duration_ms,
        waited_ms: attempt.waited_ms,
        first_content_ms: attempt.first_content_ms,
        input_tokens: attempt.input_tokens,
        output_tokens: attempt.output_tokens,
        cache_read_tokens: attempt.cache_read_tokens,
        cache_write_tokens: attempt.cache_write_tokens,
        text_tokens: attempt.text_tokens,
        numbers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_in_the_contracts_order() {
        for each in EventKind::ALL {
            assert_eq!(format!("{:?}", kind(each)), format!("EventKind::{each:?}"));
        }
        for each in Ending::ALL {
            assert_eq!(format!("{:?}", ending(each)), format!("Ending::{each:?}"));
        }
        for each in Stop::ALL {
            assert_eq!(format!("{:?}", stop(each)), format!("Stop::{each:?}"));
        }
    }
}
