//! What the contract generates for the host, and its adapter to the pipeline's types: the one place, with
//! `worlds`, that knows version 0.1 of the contract.
//!
//! One world of ours includes all of the contract's, so that they share their types and what the host
//! gives them. No component has all of its exports: each is looked up by its interface.

use std::sync::LazyLock;

use kairos_pipeline::policy as internal;

wasmtime::component::bindgen!({
    path: "../../wit/v0.1",
    inline: "
        package kairos:host;

        world every-host {
            include kairos:plugin/router@0.1.0;
            include kairos:plugin/healer@0.1.0;
            include kairos:plugin/guard@0.1.0;
            include kairos:plugin/prompter@0.1.0;
            include kairos:plugin/observer@0.1.0;
            include kairos:plugin/evaluator@0.1.0;
            include kairos:plugin/mutator@0.1.0;
            import kairos:plugin/log@0.1.0;
            import kairos:plugin/metrics@0.1.0;
            import kairos:plugin/kv@0.1.0;
            import kairos:plugin/kv-write@0.1.0;
            import kairos:plugin/content@0.1.0;
            import kairos:plugin/http@0.1.0;
            import kairos:plugin/model@0.1.0;
        }
    ",
    world: "kairos:host/every-host",
    with: {
        "kairos:plugin/types.request": super::host::RequestHandle,
        "kairos:plugin/drafts.draft": super::host::DraftHandle,
        "kairos:plugin/events.event": super::host::EventHandle,
        "kairos:plugin/cases.case": super::host::CaseHandle,
        "kairos:plugin/cases.outcome": super::host::OutcomeHandle,
        "kairos:plugin/genomes.genome": super::host::GenomeHandle,
        "kairos:plugin/genomes.evidence": super::host::EvidenceHandle,
    },
    imports: { default: trappable },
});

pub(super) use self::exports::kairos::plugin::{
    evaluating, guarding, healing, lifecycle, mutating, observing, prompting, routing,
};
pub(super) use self::kairos::plugin::types;

/// Makes flags of bits. The generated flags know no such way: tables of ten bits each stand in,
/// as this happens for every model of every call.
macro_rules! flags_of_bits {
    ($bits:expr, $flags:ty, [$($flag:ident),* $(,)?]) => {{
        static TABLES: LazyLock<[Vec<$flags>; 2]> = LazyLock::new(|| {
            let all = [$(<$flags>::$flag),*];
            [0, TABLE_BITS].map(|from| {
                let join = |bits: usize| {
                    let set = all.iter().enumerate().filter(|(bit, _)| (bits << from) & (1 << bit) != 0);
                    set.fold(<$flags>::empty(), |flags, (_, flag)| flags | *flag)
                };
                (0..1 << TABLE_BITS).map(join).collect()
            })
        });
        let bits = $bits as usize;
        let mask = (1 << TABLE_BITS) - 1;
        TABLES[0][bits & mask] | TABLES[1][(bits >> TABLE_BITS) & mask]
    }};
}

const TABLE_BITS: usize = 10;

fn capabilities(needs: internal::Needs) -> types::Capabilities {
    flags_of_bits!(
        needs.0,
        types::Capabilities,
        [
            SYSTEM_PROMPT,
            TOOLS,
            STREAMING,
            IMAGES,
            DOCUMENTS,
            VIDEO,
            AUDIO,
            REASONING,
            STRUCTURED_OUTPUT,
            PROMPT_CACHING,
            GUARDRAILS,
            EMBEDDINGS,
            CITATIONS,
            SERVER_TOOLS,
            BATCH,
            IMAGE_OUTPUT,
            VIDEO_OUTPUT,
            AUDIO_OUTPUT,
            RERANK,
        ]
    )
}

fn strengths(strengths: internal::Strengths) -> types::Strengths {
    flags_of_bits!(
        strengths.0,
        types::Strengths,
        [
            REASONING,
            CODE_ANALYSIS,
            COMPLEX_DECISIONS,
            SPEED,
            SIMPLE_TASKS,
            CLASSIFICATION,
            SUMMARIZATION,
            CONTENT_GENERATION,
            LONG_CONTEXT,
            VISION,
            MULTILINGUAL,
        ]
    )
}

/// Enums of the contract are in the order of the pipeline's.
macro_rules! same_order {
    ($from:expr, $to:ty, [$($case:ident),* $(,)?]) => {{
        const CASES: &[$to] = &[$(<$to>::$case),*];
        CASES[$from as usize]
    }};
}

pub(super) use same_order;

fn task(task: internal::Task) -> types::Task {
    same_order!(
        task,
        types::Task,
        [
            General,
            Code,
            Reasoning,
            Analysis,
            Decision,
            Strategy,
            Resolution,
            Classification,
            Extraction,
            Summarization,
            Translation,
            Generation,
            Conversation,
            Other,
        ]
    )
}

pub(super) fn features(features: &internal::Features) -> types::Features {
    types::Features {
        task: task(features.task),
        task_hinted: features.task_hinted,
        complexity: same_order!(features.complexity, types::Complexity, [Low, Medium, High]),
        complexity_hinted: features.complexity_hinted,
        estimated_tokens: features.estimated_tokens,
        max_output_tokens: features.max_output_tokens,
        max_latency_ms: features.max_latency_ms,
        accuracy: features.accuracy,
        cost_sensitivity: features.cost_sensitivity,
        priority: same_order!(features.priority, types::Priority, [Low, Normal, High, Critical]),
        needs: capabilities(features.needs),
        streaming: features.streaming,
        turns: features.turns,
        text_bytes: features.text_bytes,
        named: features.named,
        budget_remaining: features.budget_remaining,
        budget_used: features.budget_used,
        budget_level: features.budget_level,
    }
}

pub(super) fn model(offer: &internal::Offer) -> types::Model {
    types::Model {
        names: offer.names,
        family: same_order!(
            offer.family,
            types::Family,
            [Claude, Nova, Titan, Llama, Mistral, Jamba, Jurassic, Command, Deepseek, Openai, Qwen, Other]
        ),
        route: same_order!(offer.route, types::Route, [InRegion, Geo, Global, Account]),
        region: offer.region,
        legacy: offer.legacy,
        strengths: strengths(offer.strengths),
        capabilities: capabilities(offer.capabilities),
        max_input_tokens: offer.max_input_tokens,
        max_output_tokens: offer.max_output_tokens,
        input_price: offer.input_price,
        output_price: offer.output_price,
        cache_read_price: offer.cache_read_price,
        cache_write_5m_price: offer.cache_write_5m_price,
        cache_write_1h_price: offer.cache_write_1h_price,
        worst_case_cost: offer.worst_case_cost,
        latency_ms: offer.latency_ms,
        successes: offer.successes,
        failures: offer.failures,
        cached_tokens: offer.cached_tokens,
        cooldown_ms: offer.cooldown_ms,
        in_flight: offer.in_flight,
        quota_left: offer.quota_left,
    }
}

pub(super) fn plugin_error(error: types::PluginError) -> internal::PolicyError {
    use internal::{Fault, FaultKind, PolicyError};
    let fault = |message: String| PolicyError::Fault(Fault::new(FaultKind::Error, message));
    match error {
        types::PluginError::Declined => PolicyError::Declined,
        types::PluginError::Refused(reason) => PolicyError::Refused(reason),
        types::PluginError::Unavailable(what) => PolicyError::Unavailable(internal::bounded(what)),
        types::PluginError::InvalidInput(what) => fault(format!("invalid input: {what}")),
        types::PluginError::Internal(what) => fault(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_contract_are_in_the_order_of_the_pipelines() {
        // Generated flags print their names, in brackets.
        let written = |name: &str| format!("({})", name.replace('-', "_").to_uppercase());
        for (bit, name) in internal::Needs::NAMES.iter().enumerate() {
            let flag = capabilities(internal::Needs(1 << bit));
            assert_eq!(format!("{flag:?}"), written(name));
        }
        for (bit, name) in internal::Strengths::NAMES.iter().enumerate() {
            let flag = strengths(internal::Strengths(1 << bit));
            assert_eq!(format!("{flag:?}"), written(name));
        }
        for kind in internal::Task::ALL {
            assert_eq!(format!("{:?}", task(kind)), format!("Task::{kind:?}"));
        }
    }
}
