//! What the contract generates for the host, and its adapter to the pipeline's types: the one place, with
//! `worlds`, that knows version 0.1 of the contract.
//!
//! One world of ours includes all of the contract's, so that they share their types and what the host
//! gives them. No component has all of its exports: each is looked up by its interface.

use std::sync::LazyLock;

use kairos_pipeline::policy as internal;

use super::rows::Row;

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
    evaluating, guarding, healing, lifecycle, mutating, prompting, routing,
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

/// What the host knows of a request, laid out as the contract has it.
pub(super) type FeaturesRow = Row<types::Features, 104>;
/// A model, likewise.
pub(super) type ModelRow = Row<types::Model, 144>;

/// [`features`], for a call.
pub(super) fn features_row(features: &internal::Features) -> FeaturesRow {
    Row::of(|row| {
        row.byte(features.task as u8)
            .byte(features.task_hinted.into())
            .byte(features.complexity as u8)
            .byte(features.complexity_hinted.into())
            .word(features.estimated_tokens)
            .optional_word(features.max_output_tokens)
            .optional_word(features.max_latency_ms)
            .double(features.accuracy)
            .double(features.cost_sensitivity)
            .byte(features.priority as u8)
            .word(features.needs.0)
            .byte(features.streaming.into())
            .word(features.turns)
            .word(features.text_bytes)
            .optional_word(features.named)
            .optional_long(features.budget_remaining)
            .double(features.budget_used)
            .word(features.budget_level);
    })
}

/// [`model`], for a call.
pub(super) fn model_row(offer: &internal::Offer) -> ModelRow {
    Row::of(|row| {
        row.long(offer.names)
            .byte(offer.family as u8)
            .byte(offer.route as u8)
            .word(offer.region)
            .byte(offer.legacy.into())
            .short(offer.strengths.0 as u16)
            .word(offer.capabilities.0)
            .word(offer.max_input_tokens)
            .word(offer.max_output_tokens)
            .long(offer.input_price)
            .long(offer.output_price)
            .optional_long(offer.cache_read_price)
            .optional_long(offer.cache_write_5m_price)
            .optional_long(offer.cache_write_1h_price)
            .long(offer.worst_case_cost)
            .word(offer.latency_ms)
            .word(offer.successes)
            .word(offer.failures)
            .word(offer.cached_tokens)
            .word(offer.cooldown_ms)
            .word(offer.in_flight)
            .optional_long(offer.quota_left);
    })
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
    use kairos_pipeline::policy::{Complexity, Family, Features, Needs, Offer, Priority, Route, Strengths, Task};
    use proptest::prelude::*;
    use wasmtime::component::{Component, ComponentType, Lift, Linker, Lower};
    use wasmtime::{Engine, Store};

    use super::*;

    /// Gives back the one record that it is handed, if that takes no parameters on the stack.
    const ECHO: &str = r#"(component
        (type $a-task (enum "general" "code" "reasoning" "analysis" "decision" "strategy" "resolution"
            "classification" "extraction" "summarization" "translation" "generation" "conversation" "other"))
        (export $task "task" (type $a-task))
        (type $a-complexity (enum "low" "medium" "high"))
        (export $complexity "complexity" (type $a-complexity))
        (type $a-priority (enum "low" "normal" "high" "critical"))
        (export $priority "priority" (type $a-priority))
        (type $a-capabilities (flags "system-prompt" "tools" "streaming" "images" "documents" "video" "audio" "reasoning"
            "structured-output" "prompt-caching" "guardrails" "embeddings" "citations" "server-tools" "batch"
            "image-output" "video-output" "audio-output" "rerank"))
        (export $capabilities "capabilities" (type $a-capabilities))
        (type $a-strengths (flags "reasoning" "code-analysis" "complex-decisions" "speed" "simple-tasks" "classification"
            "summarization" "content-generation" "long-context" "vision" "multilingual"))
        (export $strengths "strengths" (type $a-strengths))
        (type $a-family (enum "claude" "nova" "titan" "llama" "mistral" "jamba" "jurassic" "command" "deepseek" "openai"
            "qwen" "other"))
        (export $family "family" (type $a-family))
        (type $a-route (enum "in-region" "geo" "global" "account"))
        (export $route "route" (type $a-route))
        (type $a-features (record (field "task" $task) (field "task-hinted" bool) (field "complexity" $complexity)
            (field "complexity-hinted" bool) (field "estimated-tokens" u32) (field "max-output-tokens" (option u32))
            (field "max-latency-ms" (option u32)) (field "accuracy" f64) (field "cost-sensitivity" f64)
            (field "priority" $priority) (field "needs" $capabilities) (field "streaming" bool) (field "turns" u32)
            (field "text-bytes" u32) (field "named" (option u32)) (field "budget-remaining" (option u64))
            (field "budget-used" f64) (field "budget-level" u32)))
        (export $features "features" (type $a-features))
        (type $a-model (record (field "names" u64) (field "family" $family) (field "route" $route) (field "region" u32)
            (field "legacy" bool) (field "strengths" $strengths) (field "capabilities" $capabilities)
            (field "max-input-tokens" u32) (field "max-output-tokens" u32) (field "input-price" u64)
            (field "output-price" u64) (field "cache-read-price" (option u64)) (field "cache-write-5m-price" (option u64))
            (field "cache-write-1h-price" (option u64)) (field "worst-case-cost" u64) (field "latency-ms" u32)
            (field "successes" u32) (field "failures" u32) (field "cached-tokens" u32) (field "cooldown-ms" u32)
            (field "in-flight" u32) (field "quota-left" (option u64))))
        (export $model "model" (type $a-model))
        (core module $m
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
            (func (export "one") (param i32) (result i32) local.get 0)
            (func (export "many") (param i32 i32) (result i32)
                (i32.store (i32.const 8) (local.get 0)) (i32.store (i32.const 12) (local.get 1)) i32.const 8))
        (core instance $i (instantiate $m))
        (alias core export $i "memory" (core memory $memory))
        (alias core export $i "realloc" (core func $realloc))
        (func (export "one") (param "it" $features) (result $features)
            (canon lift (core func $i "one") (memory $memory) (realloc $realloc)))
        (func (export "many") (param "them" (list $model)) (result (list $model))
            (canon lift (core func $i "many") (memory $memory) (realloc $realloc))))"#;

    fn echo<P: Lower, T: ComponentType + Lift + 'static>(function: &str, handed: P) -> T {
        static ECHOING: LazyLock<(Engine, Component)> = LazyLock::new(|| {
            let engine = Engine::default();
            let component = Component::new(&engine, ECHO).unwrap();
            (engine, component)
        });
        let (engine, component) = &*ECHOING;
        let mut store = Store::new(engine, ());
        let instance = Linker::new(engine).instantiate(&mut store, component).unwrap();
        let function = instance.get_typed_func::<(P,), (T,)>(&mut store, function).unwrap();
        function.call(store, (handed,)).unwrap().0
    }

    fn a_model() -> impl Strategy<Value = Offer> {
        let numbers = (any::<[u64; 4]>(), any::<[Option<u64>; 4]>(), any::<[u32; 9]>());
        let of = [Family::Claude, Family::Deepseek, Family::Other];
        let at = [Route::InRegion, Route::Geo, Route::Global, Route::Account];
        let kinds =
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>(), 0u32..1 << 11, 0u32..1 << 19);
        (numbers, kinds).prop_map(move |((longs, optional, words), (family, route, legacy, strengths, can))| Offer {
            names: longs[0],
            family: *family.get(&of),
            route: *route.get(&at),
            region: words[0],
            legacy,
            strengths: Strengths(strengths),
            capabilities: Needs(can),
            max_input_tokens: words[1],
            max_output_tokens: words[2],
            input_price: longs[1],
            output_price: longs[2],
            cache_read_price: optional[0],
            cache_write_5m_price: optional[1],
            cache_write_1h_price: optional[2],
            worst_case_cost: longs[3],
            latency_ms: words[3],
            successes: words[4],
            failures: words[5],
            cached_tokens: words[6],
            cooldown_ms: words[7],
            in_flight: words[8],
            quota_left: optional[3],
        })
    }

    fn some_features() -> impl Strategy<Value = Features> {
        let numbers = (any::<[u32; 4]>(), any::<[Option<u32>; 3]>(), any::<[bool; 3]>(), any::<Option<u64>>());
        let kinds = (any::<prop::sample::Index>(), 0u32..1 << 19, any::<[f64; 3]>());
        (numbers, kinds).prop_map(|((words, optional, said, remaining), (kind, needs, parts))| Features {
            task: *kind.get(&Task::ALL),
            task_hinted: said[0],
            complexity: *kind.get(&[Complexity::Low, Complexity::Medium, Complexity::High]),
            complexity_hinted: said[1],
            estimated_tokens: words[0],
            max_output_tokens: optional[0],
            max_latency_ms: optional[1],
            accuracy: parts[0],
            cost_sensitivity: parts[1],
            priority: *kind.get(&[Priority::Low, Priority::Normal, Priority::High, Priority::Critical]),
            needs: Needs(needs),
            streaming: said[2],
            turns: words[1],
            text_bytes: words[2],
            named: optional[2],
            budget_remaining: remaining,
            budget_used: parts[2],
            budget_level: words[3],
        })
    }

    proptest! {
        /// A guest reads of a row what it reads of the record.
        #[test]
        fn rows_are_laid_out_as_the_records_are(offers in prop::collection::vec(a_model(), 0..9), known in some_features()) {
            let rows: Vec<ModelRow> = offers.iter().map(model_row).collect();
            let records: Vec<types::Model> = offers.iter().map(model).collect();
            let read: Vec<types::Model> = echo("many", &*rows);
            prop_assert_eq!(format!("{read:?}"), format!("{records:?}"));
            let read: types::Features = echo("one", features_row(&known));
            prop_assert_eq!(format!("{read:?}"), format!("{:?}", features(&known)));
        }
    }

    #[test]
    fn flags_of_the_contract_are_in_the_order_of_the_pipelines() {
        // Generated flags print their names, in brackets.
        let written = |name: &str| format!("({})", name.replace('-', "_").to_uppercase());
        for (bit, name) in Needs::NAMES.iter().enumerate() {
            let flag = capabilities(Needs(1 << bit));
            assert_eq!(format!("{flag:?}"), written(name));
        }
        for (bit, name) in Strengths::NAMES.iter().enumerate() {
            let flag = strengths(Strengths(1 << bit));
            assert_eq!(format!("{flag:?}"), written(name));
        }
        for kind in Task::ALL {
            assert_eq!(format!("{:?}", task(kind)), format!("Task::{kind:?}"));
        }
    }
}
