//! The same of a healer, a prompter or a guard: how often it would have said the same.

use std::sync::Arc;

use kairos_pipeline::policy::World;
use kairos_store::records::Reader;
use serde_json::{Value, json};

use super::super::gateway::print_json;
use super::super::{Failed, counted, short};
use super::{BETWEEN, ReplayCommand, SHOWN, percent};
use crate::admin::moment;
use crate::replay::{Judge, OthersReport, Selection, replay_others};

pub(super) fn run(
    command: &ReplayCommand,
    world: World,
    judge: &Arc<Judge>,
    (mut reader, mut beside_it): (Reader, Reader),
    selection: &Selection,
) -> Result<(), Failed> {
    let shows = !command.json && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let report = replay_others(judge, world, (&mut reader, &mut beside_it), selection, |read| {
        if shows && read % BETWEEN == 0 {
            eprint!("\r{read} records");
        }
    })?;
    if shows {
        eprint!("\r\x1b[K");
    }
    let label = judge.identity().label();
    if report.replayed == 0 {
        return Err(Failed::new(nothing(world, &report)));
    }
    if command.json {
        return print_json(&report_json(label, world, &report));
    }
    print!("{}", text(label, world, &report));
    Ok(())
}

/// Why nothing was replayed.
fn nothing(world: World, report: &OthersReport) -> String {
    let kept = match world {
        World::Healer => "a record has what healers were asked",
        _ => "what they were asked is kept with `content = \"full\"` under [records] in kairos.toml",
    };
    let mut why = format!("no judgement of {} is recorded that fits: {kept}", world.policy());
    for (reason, count) in &report.not_replayed {
        why.push_str(&format!("\n  {} not replayed: {reason}", counted(*count, "judgement")));
    }
    why
}

fn text(label: &str, world: World, report: &OthersReport) -> String {
    let (name, digest) = label.split_once('@').unwrap_or((label, ""));
    let (all, other) = (report.replayed, report.replayed - report.same);
    let mut text = format!(
        "replay of {name}@{} over {} of {} from {} to {}\n",
        short(digest),
        counted(all, "judgement"),
        world.policy(),
        moment(report.first_ms.unwrap_or_default()),
        moment(report.last_ms),
    );
    text.push_str(&format!(
        "judgements  the same {} ({}) · another {other} ({})\n",
        report.same,
        percent(report.same, all),
        percent(other, all)
    ));
    for ((then, now), count) in report.changes.iter().take(SHOWN) {
        text.push_str(&format!("            {count} × {then} → {now}\n"));
    }
    if report.changes.len() > SHOWN {
        text.push_str(&format!("            and {} other changes\n", report.changes.len() - SHOWN));
    }
    for (why, count) in &report.not_replayed {
        text.push_str(&format!("            {} not replayed: {why}\n", counted(*count, "judgement")));
    }
    if report.not_kept > 0 {
        text.push_str(&format!("            of {} not all judgements are kept\n", counted(report.not_kept, "request")));
    }
    if other > 0 {
        text.push_str("what would have come of another judgement is unknown: what follows it was never done\n");
    }
    text
}

fn report_json(label: &str, world: World, report: &OthersReport) -> Value {
    let changes = report.changes.iter().map(|((then, now), count)| json!({"then": then, "now": now, "count": count}));
    json!({
        "policy": label,
        "world": world.name(),
        "from": report.first_ms.map(moment),
        "to": moment(report.last_ms),
        "judgements": report.replayed,
        "same": report.same,
        "changes": changes.collect::<Vec<_>>(),
        "not_replayed": report.not_replayed,
        "requests_not_all_kept": report.not_kept,
    })
}
