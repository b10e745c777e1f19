//! One invocation, worked out: who answers, what it says, what it used.
//!
//! Here the pieces meet in the order AWS applies them: model, capabilities, size, guardrail on the
//! input, prompt cache, reply, guardrail on the output. It must not know dialects, HTTP or faults.

use std::sync::Arc;

use serde_json::Value;

use crate::bill::Charge;
use crate::capability;
use crate::catalogue::{Catalogue, Features, Kind, Model, ModelRef, Region, Route, Tariff, Tier};
use crate::config::{Clock, Guardrail};
use crate::conversation::{Block, Conversation, Mark, Measure, Ttl};
use crate::error::{ApiError, Exception};
use crate::pace::{Pace, Speed};
use crate::prompt_cache::{PromptCache, Split};
use crate::reply::{self, Reply};
use crate::target::{Resolver, Target, Way, profile_arn};
use crate::tokens;
use crate::usage::{GuardUnits, Usage};
use crate::wishes::Wishes;

/// What generating needs to know.
pub(crate) struct Generator {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) resolver: Resolver,
    pub(crate) guardrails: Vec<Guardrail>,
    pub(crate) cache: PromptCache,
    pub(crate) pace: Pace,
    pub(crate) clock: Clock,
}

/// A model, reached.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) model: ModelRef,
    pub(crate) route: Route,
    /// The ARN of the model a prompt router chose.
    pub(crate) routed_to: Option<String>,
}

/// A finished invocation.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) charge: Charge,
    pub(crate) reply: Reply,
    pub(crate) routed_to: Option<String>,
    /// The guardrail's trace, if one was asked for.
    pub(crate) guard_trace: Option<Value>,
    /// Whether a guardrail looked at all, and if so whether it stepped in.
    pub(crate) guarded: Option<bool>,
    pub(crate) wishes: Wishes,
    /// None if everything comes at once.
    pub(crate) speed: Option<Speed>,
}

impl Generation {
    pub(crate) fn usage(&self) -> &Usage {
        &self.charge.usage
    }

    /// Milliseconds from the request to the last token.
    pub(crate) fn latency_ms(&self) -> u64 {
        let took = self.speed.map_or(0, |speed| speed.until(self.usage().output).as_millis());
        u64::try_from(took).unwrap_or(u64::MAX).max(1)
    }

    /// Milliseconds from the request to the first token.
    pub(crate) fn first_byte_ms(&self) -> u64 {
        let took = self.speed.map_or(0, |speed| speed.first_token.as_millis());
        u64::try_from(took).unwrap_or(u64::MAX).max(1)
    }

    /// The tier to name in the answer: what was served, for those who asked.
    pub(crate) fn tier_served(&self) -> Option<&'static str> {
        self.wishes.tier.map(|_| match self.charge.tier {
            Tier::Standard => "default",
            Tier::Priority => "priority",
            Tier::Flex => "flex",
        })
    }
}

impl Generator {
    /// The model a request leads to.
    pub(crate) fn reach(
        &self,
        target: &Target,
        region: Region,
        conversation: &Conversation<'_>,
    ) -> Result<Reached, ApiError> {
        let (model, route, routed) = match target.way {
            Way::Model(model, route) => (model, route, false),
            Way::Router(router) => {
                let tokens = last_user_tokens(conversation);
                let (model, route) = router.pick(&self.catalogue, tokens, region)?;
                (model, route, true)
            }
        };
        self.resolver.check_offered(&target.asked, model, route, region)?;
        let id = &self.catalogue.model(model).id;
        Ok(Reached { model, route, routed_to: routed.then(|| profile_arn(region, route, id)) })
    }

    /// Checks what has to hold of any conversation, and measures it.
    pub(crate) fn measure(
        &self,
        model: &Model,
        conversation: &Conversation<'_>,
        streamed: bool,
    ) -> Result<Measure, ApiError> {
        capability::check(model, conversation, streamed)?;
        let measure = conversation.measure(&model.id);
        let window = model.long_in.filter(|_| conversation.long_context).unwrap_or(model.max_in);
        if measure.tokens > window {
            return Err(ApiError::validation("Input is too long for requested model."));
        }
        Ok(measure)
    }

    /// Works out a whole invocation.
    pub(crate) fn generate(
        &self,
        target: &Target,
        region: Region,
        conversation: &Conversation<'_>,
        wishes: Wishes,
        streamed: bool,
    ) -> Result<Generation, ApiError> {
        let reached = self.reach(target, region, conversation)?;
        let model = self.catalogue.model(reached.model);
        let measure = self.measure(model, conversation, streamed)?;
        let tariff = self
            .catalogue
            .sheet(reached.model, reached.route, region)
            .map(|sheet| sheet.tariff(wishes.tier.unwrap_or(Tier::Standard)))
            .ok_or_else(unpriced)?;
        let guardrail = wishes.guardrail.as_ref();
        let guardrail = guardrail.map(|ask| Ok((ask, ask.find(&self.guardrails)?))).transpose()?;

        let mut work =
            Work { reply: Reply::blocked("", 0), usage: Usage::default(), units: GuardUnits::default(), trace: None };
        match guardrail {
            None => self.answer(&reached, model, tariff, conversation, &measure, &mut work),
            Some((ask, guardrail)) => {
                let input = guardrail.assess_input(conversation);
                let verdict = if input.blocks() {
                    work.reply = Reply::blocked(&guardrail.input_message, 0);
                    guardrail.verdict(ask, &input, None)
                } else {
                    self.answer(&reached, model, tariff, conversation, &measure, &mut work);
                    let text = work.reply.text();
                    let output = guardrail.assess_output(&text);
                    let verdict = guardrail.verdict(ask, &input, Some((&output, &text)));
                    if verdict.blocked {
                        work.reply = Reply::blocked(&guardrail.output_message, work.reply.tokens);
                    }
                    verdict
                };
                work.units = verdict.units;
                work.trace = verdict.trace;
            }
        }
        let charge =
            Charge::new(&self.catalogue, (reached.model, reached.route, region), tariff.tier, work.usage, work.units)
                .ok_or_else(unpriced)?;
        Ok(Generation {
            charge,
            guarded: guardrail.map(|_| work.reply.stop == reply::Stop::Guardrail),
            reply: work.reply,
            routed_to: reached.routed_to,
            guard_trace: work.trace,
            wishes,
            speed: self.pace.of(&model.id),
        })
    }

    /// What an invocation of a model that is no chat is charged.
    pub(crate) fn charge(
        &self,
        (model, route, region): (ModelRef, Route, Region),
        tier: Option<Tier>,
        usage: Usage,
    ) -> Result<Charge, ApiError> {
        let sheet = self.catalogue.sheet(model, route, region).ok_or_else(unpriced)?;
        let tier = sheet.tariff(tier.unwrap_or(Tier::Standard)).tier;
        Charge::new(&self.catalogue, (model, route, region), tier, usage, GuardUnits::default()).ok_or_else(unpriced)
    }

    /// Lets the model answer and counts what that took.
    fn answer(
        &self,
        reached: &Reached,
        model: &Model,
        tariff: &Tariff,
        conversation: &Conversation<'_>,
        measure: &Measure,
        work: &mut Work,
    ) {
        let split = self.cached(reached.model, model, tariff, measure);
        work.reply = reply::reply(model, conversation, &measure.digest);
        let cached = split.read + split.write_5m + split.write_1h;
        work.usage = Usage {
            input: measure.tokens.saturating_sub(cached),
            output: work.reply.tokens,
            cache_read: split.read,
            cache_write_5m: split.write_5m,
            cache_write_1h: split.write_1h,
            ..Usage::default()
        };
    }

    /// Passes a conversation by the prompt cache. Cache points that the model does not have, that come
    /// too early, or whose tokens have no price are as if they were not there.
    fn cached(&self, which: ModelRef, model: &Model, tariff: &Tariff, measure: &Measure) -> Split {
        let Some(least) = model
            .cache_min
            .filter(|_| !measure.marks.is_empty() && model.has(Features::CACHE) && tariff.prices(Kind::CacheRead))
        else {
            return Split::default();
        };
        let counts = |mark: &Mark, ttl: Ttl| {
            mark.tokens >= least
                && match ttl {
                    Ttl::FiveMinutes => tariff.prices(Kind::CacheWrite5m),
                    Ttl::OneHour => tariff.prices(Kind::CacheWrite1h),
                }
        };
        let marks: Vec<Mark> =
            measure.marks.iter().map(|mark| Mark { ttl: mark.ttl.filter(|ttl| counts(mark, *ttl)), ..*mark }).collect();
        self.cache.pass(which, &marks, self.clock.now())
    }
}

struct Work {
    reply: Reply,
    usage: Usage,
    units: GuardUnits,
    trace: Option<Value>,
}

fn last_user_tokens(conversation: &Conversation<'_>) -> u32 {
    let blocks = conversation.last_user().map(|turn| turn.blocks.iter()).into_iter().flatten();
    blocks.fold(0u32, |sum, block| match block {
        Block::Text(text) | Block::Guarded(text) => sum.saturating_add(tokens::count(text)),
        _ => sum,
    })
}

/// Cannot happen while the catalogue is whole; said rather than charged at nothing.
fn unpriced() -> ApiError {
    ApiError::new(Exception::InternalServer, "The simulator has no price for this invocation.")
}

#[cfg(test)]
mod tests;
