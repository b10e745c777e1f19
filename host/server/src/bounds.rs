//! How much of each bound is used, and what was refused at it: a line each at `/metrics`, named as in
//! `kairos.toml`.
//!
//! Bounds whose refusals are counted elsewhere are not repeated: times of calls to Bedrock in
//! `kairos_attempts_total`, those of policies in `kairos_policy_faults_total`.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use kairos_pipeline::learned::Space;
use kairos_pipeline::places::Crowd;
use kairos_pipeline::rates::Status;

use crate::edge::App;
use crate::keys::issued;
use crate::log;

/// One bound.
struct Bound {
    name: &'static str,
    limit: u64,
    /// How much of it is used; none where it bounds a single request.
    used: Option<u64>,
    /// Requests or connections that were refused at it.
    refused: Option<u64>,
}

/// The lines of all bounds, in Prometheus's text format.
pub(crate) fn render(app: &App) -> String {
    let bounds = bounds(app);
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, what: &str, value: fn(&Bound) -> Option<u64>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} {kind}");
        for (bound, value) in bounds.iter().filter_map(|bound| Some((bound, value(bound)?))) {
            let _ = writeln!(text, "{name}{{bound=\"{}\"}} {value}", bound.name);
        }
    };
    family("kairos_bound_limit", "gauge", "What a setting of kairos.toml allows.", |bound| Some(bound.limit));
    family("kairos_bound_used", "gauge", "How much of it is used.", |bound| bound.used);
    family("kairos_bound_refused_total", "counter", "What was refused because of it.", |bound| bound.refused);
    places(app, &mut text);
    dropped(app, &mut text);
    rates(app, &mut text);
    prices(app, &mut text);
    jobs(app, &mut text);
    profiles(app, &mut text);
    records(app, &mut text);
    prompts(app, &mut text);
    learned(app, &mut text);
    let name = "kairos_alert_crossings_missed_total";
    let what = "Thresholds passed while more were than are kept: all budgets are looked at then.";
    let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} counter\n{name} {}", app.alerts.missed());
    let name = "kairos_ledger_damaged";
    let what = "1 once a row, or a sum, of the ledger was found not to be as it was written.";
    let damaged = u8::from(app.ledger.damage().is_some());
    let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} gauge\n{name} {damaged}");
    let name = "kairos_log_dropped_lines_total";
    let _ = writeln!(text, "# HELP {name} Lines of the log that its reader was too slow for.\n# TYPE {name} counter");
    let _ = writeln!(text, "{name} {}", log::dropped());
    text
}

fn bounds(app: &App) -> Vec<Bound> {
    let (config, gateway, refused) = (&app.config, &app.gateway, &app.refusals);
    let limits = &config.limits;
    let bound = |name, limit: usize, used: Option<usize>, refused: Option<u64>| Bound {
        name,
        limit: limit as u64,
        used: used.map(|used| used as u64),
        refused,
    };
    let ledger = app.ledger.used();
    let (alerts, dropped) = app.alerts.counts();
    let (most_instances, instances) = app.policies.instances();
    let mut bounds = vec![
        bound("limits.connections", limits.connections, Some(app.connections.open()), Some(refused.connections.get())),
        bound("limits.header_bytes", limits.header_bytes, None, Some(refused.header_bytes.get())),
        bound("limits.body_bytes", limits.body_bytes, None, Some(refused.body_bytes.get())),
        bound(
            "limits.buffered_bytes",
            limits.buffered_bytes,
            Some(app.buffered.bytes()),
            Some(refused.buffered_bytes.get()),
        ),
        bound("limits.in_flight", limits.in_flight, Some(gateway.load.requests()), Some(gateway.load.refused())),
        Bound {
            name: "auth.keys",
            limit: issued::MOST as u64,
            used: Some(app.keys.issued.len() as u64),
            refused: None,
        },
        bound("limits.records", limits.records, Some(gateway.records.len()), None),
        bound("limits.rate_waiting", limits.rate_waiting, Some(gateway.rates.kept().0), None),
        bound("limits.rate_windows", limits.rate_windows, Some(gateway.rates.kept().1), None),
        bound("ledger.queued_rows", config.ledger.queued_rows, Some(ledger.queued_rows), None),
        bound("jobs.open", config.jobs.open, Some(ledger.jobs), None),
        bound("ledger.pairs", config.ledger.pairs, Some(ledger.pairs), None),
        bound("alerts.outbox", config.alerts.outbox, Some(alerts), Some(dropped)),
        Bound {
            name: "models.kept_prices",
            limit: config.models.kept_prices as u64,
            used: Some(app.prices.sheets().list().len() as u64),
            refused: Some(app.prices.sheets().removed()),
        },
        bound(
            "profiles.kept",
            config.profiles.kept,
            Some(app.profiles.kept()),
            Some(app.profiles.counts().no_room.load(Ordering::Relaxed)),
        ),
        bound(
            "profiles.questions_per_minute",
            config.profiles.questions_per_minute as usize,
            None,
            Some(app.profiles.counts().too_many.load(Ordering::Relaxed)),
        ),
        bound("prompts.templates", config.prompts.templates, Some(gateway.prompts.load().all().count()), None),
        bound("upstream.idle_connections", config.upstream.idle_connections, None, None),
        Bound { name: "policies.instances", limit: u64::from(most_instances), used: Some(instances), refused: None },
    ];
    let kept = app.admin.store.kept();
    bounds.extend(
        [
            ("policies.kept_versions", config.policies.kept_versions, kept.versions),
            ("policies.kept_bytes", config.policies.kept_bytes, kept.bytes),
        ]
        .map(|(name, limit, used)| Bound { name, limit, used: Some(used), refused: None }),
    );
    let seconds = |name, seconds: crate::config::Seconds, refused: u64| Bound {
        name,
        limit: seconds.duration().as_secs(),
        used: None,
        refused: Some(refused),
    };
    bounds.extend([
        seconds("limits.header_seconds", limits.header_seconds, refused.header_seconds.get()),
        seconds("limits.body_seconds", limits.body_seconds, refused.body_seconds.get()),
        seconds("limits.write_seconds", limits.write_seconds, refused.write_seconds.get()),
    ]);
    let events = app.policies.events();
    bounds.push(bound("observer.queue", config.observer.queue, Some(events.waiting), Some(events.missed)));
    bounds.push(bound("observer.remembered", config.observer.remembered, Some(events.remembered), None));
    if let Some(records) = &app.records {
        let (set, counts) = (&config.records, records.counts());
        bounds.extend([
            Bound { name: "records.bytes", limit: set.bytes, used: Some(counts.bytes), refused: None },
            bound("records.queue", set.queue, Some(counts.waiting), Some(counts.full)),
            bound("records.queue_bytes", set.queue_bytes, Some(counts.waiting_bytes), None),
        ]);
    }
    if let Some(places) = &gateway.places {
        let crowds: Vec<_> = (0..gateway.catalogue.load().models.len()).map(|model| places.crowd(model)).collect();
        let sum = |of: fn(&Crowd) -> usize| Some(crowds.iter().map(of).sum());
        let (at_once, waiting) = (places.bounds().at_once, places.bounds().waiting);
        // The limits are those of one model, what is used is the sum over all.
        bounds.push(bound("upstream.concurrent_requests", at_once, sum(|crowd| crowd.under_way), None));
        bounds.push(bound("upstream.waiting_requests", waiting, sum(|crowd| crowd.waiting), None));
    }
    bounds
}

/// Versions of policies that this run let go, as too many were kept.
fn dropped(app: &App, text: &mut String) {
    let name = "kairos_policy_versions_dropped_total";
    let what = "Versions of policies that are not kept any more, as there were too many.";
    let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} counter\n{name} {}", app.admin.store.kept().dropped);
}

/// Looks whether jobs have ended, by what came of them.
fn jobs(app: &App, text: &mut String) {
    let Some(jobs) = &app.gateway.jobs else { return };
    let name = "kairos_job_looks_total";
    let _ = writeln!(text, "# HELP {name} Looks whether a job has ended.\n# TYPE {name} counter");
    for (outcome, count) in jobs.looks() {
        let _ = writeln!(text, "{name}{{outcome=\"{}\"}} {count}", outcome.name());
    }
}

/// Records that were written, and those that could not be; those that too many waited before are
/// refused at `records.queue`.
fn records(app: &App, text: &mut String) {
    let Some(counts) = app.records.as_ref().map(|records| records.counts()) else { return };
    for (name, what, count) in [
        ("kairos_records_written_total", "Records of requests written to disk.", counts.written),
        ("kairos_records_forgotten_total", "Records that an operator had taken out.", counts.erased),
        ("kairos_records_failed_total", "Records that could not be written, and are lost.", counts.failed),
    ] {
        let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} counter\n{name} {count}");
    }
}

/// The prices that serve, and what became of the operator's file.
fn prices(app: &App, text: &mut String) {
    let status = app.prices.status();
    let name = "kairos_prices_info";
    let _ = writeln!(text, "# HELP {name} The version of the prices that serve.\n# TYPE {name} gauge");
    let _ = writeln!(text, "{name}{{version=\"{}\"}} 1", status.version);
    for (name, kind, what, count) in [
        ("kairos_price_loads_total", "counter", "Versions of prices that came to serve.", status.loaded),
        ("kairos_price_refusals_total", "counter", "Times that the file of own prices was refused.", status.refused),
        (
            "kairos_prices_wrong",
            "gauge",
            "1 while it is wrong, and the prices from before serve.",
            u64::from(status.wrong.is_some()),
        ),
    ] {
        let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} {kind}\n{name} {count}");
    }
}

/// Application inference profiles: what Bedrock was asked, and what came of it.
fn profiles(app: &App, text: &mut String) {
    let counts = app.profiles.counts();
    for (name, what, count) in [
        ("kairos_profile_questions_total", "Questions what an application profile stands for.", &counts.asked),
        ("kairos_profile_questions_failed_total", "Those that came to nothing.", &counts.unanswered),
        ("kairos_profile_changes_total", "Profiles that stand for something else, or are gone.", &counts.changed),
    ] {
        let count = count.load(Ordering::Relaxed);
        let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} counter\n{name} {count}");
    }
}

/// Templates that serve, and what became of their files.
fn prompts(app: &App, text: &mut String) {
    let status = app.prompts.status();
    for (name, kind, what, count) in [
        ("kairos_prompts", "gauge", "Versions of templates that serve.", status.versions as u64),
        ("kairos_prompt_loads_total", "counter", "Times that templates were loaded.", status.loaded),
        ("kairos_prompt_refusals_total", "counter", "Times that a file of templates was refused.", status.refused),
        ("kairos_prompts_wrong", "gauge", "Files of templates that are wrong now.", status.wrong.len() as u64),
    ] {
        let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} {kind}\n{name} {count}");
    }
}

/// What is learned, by space: a policy names it, and there are few. The bounds are of each space.
fn learned(app: &App, text: &mut String) {
    let snapshot = app.policies.learned().snapshot();
    let mut family = |name: &str, what: &str, value: &dyn Fn(&Space) -> usize| {
        let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} gauge");
        for (id, space) in snapshot.spaces() {
            let _ = writeln!(text, "{name}{{space=\"{id}\"}} {}", value(space));
        }
    };
    family("kairos_kv_keys", "Keys that were learned.", &Space::keys);
    family("kairos_kv_bytes", "Bytes of keys and values that were learned.", &Space::bytes);
    for (name, what, count) in [
        ("kairos_observer_events_total", "Events that an observer was told of.", app.policies.events().told),
        (
            "kairos_kv_write_failures_total",
            "Writes of what was learned that failed, and were tried again.",
            app.learned.failed(),
        ),
    ] {
        let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} counter\n{name} {count}");
    }
}

/// What may go through in a minute, and what does: of the names of the configuration, and of all keys' own
/// limits together.
fn rates(app: &App, text: &mut String) {
    let rates = app.gateway.rates.status();
    let mut family = |name: &str, kind: &str, what: &str, value: &dyn Fn(&Status) -> Vec<(&str, u64)>| {
        let label = if kind == "counter" { "why" } else { "of" };
        let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} {kind}");
        for rate in &rates {
            for (of, value) in value(rate) {
                let _ = writeln!(text, "{name}{{rate=\"{}\",{label}=\"{of}\"}} {value}", rate.name);
            }
        }
    };
    family("kairos_rate_limit", "gauge", "What may go through in a minute.", &|rate| {
        let amounts = [("requests", rate.limit.requests), ("tokens", rate.limit.tokens)];
        amounts.into_iter().filter_map(|(of, most)| Some((of, most?))).collect()
    });
    family("kairos_rate_used", "gauge", "What went through in the last minute; of several keys the most.", &|rate| {
        vec![("requests", rate.used.requests), ("tokens", rate.used.tokens)]
    });
    family("kairos_rate_refused_total", "counter", "Requests that there was no room for.", &|rate| {
        ["full", "late", "never"].into_iter().zip(rate.refused).collect()
    });
}

/// What goes on before and on each model, where places are limited.
fn places(app: &App, text: &mut String) {
    let Some(places) = &app.gateway.places else { return };
    let catalogue = app.gateway.catalogue.load();
    let models = catalogue.models.iter().enumerate().filter(|(_, model)| model.active);
    let crowds: Vec<_> = models.map(|(index, model)| (&model.id, places.crowd(index))).collect();
    let mut family = |name: &str, kind: &str, what: &str| {
        let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} {kind}");
        for (model, crowd) in &crowds {
            let _ = match name {
                "kairos_upstream_under_way" => writeln!(text, "{name}{{model=\"{model}\"}} {}", crowd.under_way),
                "kairos_upstream_waiting" => writeln!(text, "{name}{{model=\"{model}\"}} {}", crowd.waiting),
                _ => writeln!(
                    text,
                    "{name}{{model=\"{model}\",why=\"full\"}} {}\n{name}{{model=\"{model}\",why=\"late\"}} {}",
                    crowd.refused_full, crowd.refused_late
                ),
            };
        }
    };
    family("kairos_upstream_under_way", "gauge", "Attempts under way on a model.");
    family("kairos_upstream_waiting", "gauge", "Requests that wait for a model.");
    family("kairos_upstream_refused_total", "counter", "Requests that a model had no place for.");
}
