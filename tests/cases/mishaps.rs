//! What befalls a gateway under load: told to stop, no room on the disk, nothing that can be written, a database that
//! somebody else holds, a clock that jumps. Requests are refused rather than unaccounted, and it goes on by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt as _;
use kairos_disk::VARIABLE;
use kairos_tests::audit::{Audit, ledger_json, picodollars};
use kairos_tests::http::{Answer, Client, chat, requests};
use kairos_tests::policy;
use kairos_tests::process::{Pair, Server, Setup, binary, metrics, said};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

fn data(pair: &Pair) -> PathBuf {
    pair.folder().join("data")
}

/// In every dialect, buffered and streamed, and batches.
fn asked(gateway: &str) -> Vec<(String, Value)> {
    let mut all = requests(gateway);
    let one = json!({"prompt": "hello", "model_preference": "nova-lite"});
    all.push((format!("{gateway}/v1/generate/batch"), json!({"requests": [one, one, one, one]})));
    all
}

/// How often is looked for what must come: what does not fails the test, with what was seen last.
const LOOKS: usize = 10_000;

/// What callers saw until the gateway took no more.
#[derive(Default)]
struct Seen {
    whole: AtomicUsize,
    /// Answers that had begun, and broke off.
    cut: AtomicUsize,
    /// Answers that say that the gateway stops.
    refused: AtomicUsize,
    under_way: AtomicUsize,
}

/// Callers that ask until they are let in no more.
fn load(gateway: &str, callers: usize) -> (Arc<Seen>, Vec<JoinHandle<()>>) {
    let seen = Arc::new(Seen::default());
    let one = |caller: usize| {
        let (all, seen) = (asked(gateway), Arc::clone(&seen));
        tokio::spawn(async move {
            let client = Client::default();
            for place in caller.. {
                let (url, body) = &all[place % all.len()];
                seen.under_way.fetch_add(1, Ordering::Relaxed);
                let answer = client.try_open(url, body).await;
                let status = answer.as_ref().map(http::Response::status);
                let body = match answer {
                    None => None,
                    Some(answer) => Some(answer.into_body().collect().await.is_ok()),
                };
                seen.under_way.fetch_sub(1, Ordering::Relaxed);
                match (status.map(|status| status.as_u16()), body) {
                    (Some(200), Some(true)) => seen.whole.fetch_add(1, Ordering::Relaxed),
                    (Some(200), _) => seen.cut.fetch_add(1, Ordering::Relaxed),
                    (Some(status), _) => {
                        assert_eq!(status, 503, "{url}");
                        seen.refused.fetch_add(1, Ordering::Relaxed)
                    }
                    (None, _) => return,
                };
            }
        })
    };
    let callers = (0..callers).map(one).collect();
    (seen, callers)
}

/// SIGTERM under load: whatever had begun comes to its end within the time to stop, each attempt has its row, and
/// nothing is estimated or open. The ledger is the bill.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_under_load_nothing_is_lost() {
    let setup = Setup { policy: Some(policy("task.rhai")), simulate: &["--speed", "*=20,2000"], ..Setup::default() };
    let mut pair = setup.start();
    let mut audit = Audit::default();
    for _ in 0..3 {
        let (seen, callers) = load(&pair.gateway.url, 24);
        let whole = || seen.whole.load(Ordering::Relaxed);
        for _ in 0..LOOKS {
            if whole() >= 48 {
                break;
            }
            // Each look is a question to the gateway, as the callers' are.
            metrics(&pair).await;
        }
        assert!(whole() >= 48, "{} answers came whole in {LOOKS} looks", whole());
        pair.gateway.terminate();
        let open = seen.under_way.load(Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(seen.cut.load(Ordering::Relaxed), 0);
        assert!(open > 0, "nothing was under way");
        let (status, log) = pair.gateway.ended();
        let log = log.concat();
        assert!(status.success() && log.contains("\"stopped\"") && !log.contains("still"), "{log}");
        audit.read_bill(&pair.simulator.url).await;
        let found = audit.check(&data(&pair)).unwrap();
        assert_eq!((found.estimated, found.without_row), (0, 0), "{found:?}");
        charged_is_billed(&pair).await;
        pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    }
}

/// To the last digit.
async fn charged_is_billed(pair: &Pair) {
    let bill = Client::default().get(&format!("{}/sim/v1/bill?limit=1", pair.simulator.url)).await.json();
    let verified = ledger_json(&data(pair), &["verify"]);
    assert_eq!(picodollars(&verified["charged_usd"]), picodollars(&bill["totals"]["cost_usd"]), "{verified}");
}

/// What does not end in that time is charged by the next start, at its worst case, and no less than was billed.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_is_charged_all_the_same() {
    let config = "[limits]\ndrain_seconds = 0.2\n[models]\nas_of = \"2026-11-23\"\n";
    let setup =
        Setup { config, policy: Some(policy("task.rhai")), simulate: &["--speed", "*=1,20"], ..Setup::default() };
    let mut pair = setup.start();
    let (_, callers) = load(&pair.gateway.url, 24);
    // They have been sent, and not only by their callers.
    let open = async || {
        let counted = metrics(&pair).await;
        let line = counted.lines().find_map(|line| line.strip_prefix("kairos_ledger_open_rows "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let mut most = 0;
    for _ in 0..LOOKS {
        most = open().await;
        if most >= 8 {
            break;
        }
    }
    assert!(most >= 8, "{most} attempts were open at the last of {LOOKS} looks");
    pair.gateway.terminate();
    for caller in callers {
        caller.await.unwrap();
    }
    let (status, log) = pair.gateway.ended();
    let log = log.concat();
    assert!(status.success() && log.contains("requests were still under way when the time to stop was over"), "{log}");
    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    let mut audit = Audit::default();
    audit.read_bill(&pair.simulator.url).await;
    audit.check(&data(&pair)).unwrap();
    let verified = ledger_json(&data(&pair), &["verify"]);
    assert!(verified["open"] == 0 && picodollars(&verified["estimated_usd"]) > 0, "{verified}");
}

/// Starts a gateway on a disk of which something fails while there is a file of the name that is given.
fn on_a_disk(setup: &Setup<'_>, pair: &mut Pair, fails: &str) -> PathBuf {
    pair.gateway.kill();
    let sign = pair.folder().join("sign");
    let mut command = setup.command(Path::new(env!("CARGO_BIN_EXE_kairos-power")), &pair.simulator.url, pair.folder());
    pair.gateway = Server::start(command.env(VARIABLE, format!("{fails}={}", sign.display())));
    sign
}

/// Asks until the status of an answer is such.
async fn asked_until(client: &Client, (url, body): &(String, Value), is_it: impl Fn(u16) -> bool) -> Answer {
    let mut last = None;
    for _ in 0..LOOKS {
        let answer = client.post(url, &[], body).await;
        if is_it(answer.status.as_u16()) {
            return answer;
        }
        last = Some(answer);
    }
    let last = last.unwrap();
    panic!("after {LOOKS} looks {url} still answers {}: {}", last.status, last.text());
}

/// Asks until it is refused: leases that are on disk go on paying, and no further. From then on every dialect is, and
/// `why` is said. Then it is mended, and the same gateway answers again.
async fn refuses_until_mended(pair: &mut Pair, why: &str, mend: impl FnOnce()) {
    let client = Client::default();
    let all = requests(&pair.gateway.url);
    let refused = asked_until(&client, &all[0], |status| status != 200).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains(why), "{}", refused.text());
    for (url, body) in &all {
        let refused = client.post(url, &[], body).await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"), "{url}");
    }
    assert_eq!(client.get(&format!("{}/readyz", pair.gateway.url)).await.status, 503);
    mend();
    asked_until(&client, &all[0], |status| status == 200).await;
    pair.gateway.terminate();
    assert!(pair.gateway.ended().0.success());
    charged_is_billed(pair).await;
}

#[tokio::test]
async fn a_full_disk_refuses_until_there_is_room() {
    let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let full = on_a_disk(&setup, &mut pair, "full-while");
    std::fs::write(&full, "").unwrap();
    refuses_until_mended(&mut pair, "database or disk is full", || std::fs::remove_file(&full).unwrap()).await;
}

/// What was answered is written once there is room, if that is before the time to stop is over.
#[tokio::test]
async fn told_to_stop_on_a_full_disk_it_waits_for_room() {
    let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let full = on_a_disk(&setup, &mut pair, "full-while");
    std::fs::write(&full, "").unwrap();
    let all = requests(&pair.gateway.url);
    asked_until(&Client::default(), &all[0], |status| status != 200).await;
    pair.gateway.terminate();
    pair.gateway.wait_for_log("told to stop");
    std::fs::remove_file(&full).unwrap();
    assert!(pair.gateway.ended().0.success());
    charged_is_billed(&pair).await;
}

/// By a clean-up that was too thorough. What is written from then on would be gone with the process.
#[tokio::test]
async fn a_ledger_that_is_taken_away_refuses_until_it_is_back() {
    let mut pair = Setup { policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let (ledger, away) = (pair.folder().join("data/ledger.sqlite"), pair.folder().join("away"));
    std::fs::rename(&ledger, &away).unwrap();
    refuses_until_mended(&mut pair, "was removed or replaced", || std::fs::rename(&away, &ledger).unwrap()).await;
}

/// As where Linux mounts a file system anew, to be read only, since it found something wrong.
#[tokio::test]
async fn a_read_only_file_system_refuses_until_it_can_be_written_to() {
    let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let sign = on_a_disk(&setup, &mut pair, "read-only-while");
    std::fs::write(&sign, "").unwrap();
    refuses_until_mended(&mut pair, "disk I/O error", || std::fs::remove_file(&sign).unwrap()).await;
}

/// Somebody has the database open in a transaction, with a tool of their own.
#[tokio::test]
async fn a_locked_database_refuses_until_it_is_let_go() {
    let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let held = rusqlite::Connection::open(data(&pair).join("ledger.sqlite")).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    refuses_until_mended(&mut pair, "locked", || held.execute_batch("ROLLBACK").unwrap()).await;
}

const HOUR_MS: i64 = 3_600_000;

/// Asks until the day's budget has no room. How many were answered.
async fn spend_all(pair: &Pair) -> usize {
    let client = Client::default();
    let mut body = chat("nova-lite", "hello");
    body["max_tokens"] = json!(20);
    for answered in 0.. {
        let answer = client.post(&format!("{}/v1/chat/completions", pair.gateway.url), &[], &body).await;
        if answer.status != 200 {
            assert_eq!(answer.status, 429, "{}", answer.text());
            return answered;
        }
    }
    unreachable!("the budget has no end")
}

/// However the clock jumps: what a day has spent is spent, no day has more than its budget, and nothing is lost.
#[tokio::test]
async fn a_clock_that_jumps_is_no_way_round_a_budget() {
    let config = "[[budgets]]\nname = \"day\"\nlimit_usd = \"0.0002\"\nperiod = \"day\"\n";
    let setup = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    pair.gateway.kill();
    let file = pair.folder().join("clock");
    let set = |ahead: i64| {
        let beside = file.with_extension("next");
        std::fs::write(&beside, ahead.to_string()).unwrap();
        std::fs::rename(&beside, &file).unwrap();
    };
    // Noon of a day to come, so that no midnight comes in between.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let noon = (now / (24 * HOUR_MS) + 2) * 24 * HOUR_MS + 12 * HOUR_MS - now;
    set(noon);
    let mut command = setup.command(Path::new(env!("CARGO_BIN_EXE_kairos-power")), &pair.simulator.url, pair.folder());
    pair.gateway = Server::start(command.env(VARIABLE, "seed=1").env("KAIROS_TEST_CLOCK", &file));
    assert!(spend_all(&pair).await > 0);
    for (ahead, has_room) in [
        (noon - 3 * HOUR_MS, false),
        (noon - 24 * HOUR_MS, true),
        (noon - 30 * HOUR_MS, false),
        (noon, false),
        (noon + 24 * HOUR_MS, true),
        (noon - 24 * HOUR_MS, false),
    ] {
        set(ahead);
        assert_eq!(spend_all(&pair).await > 0, has_room, "{} h", (ahead - noon) / HOUR_MS);
    }
    pair.gateway.terminate();
    assert!(pair.gateway.ended().0.success());
    charged_is_billed(&pair).await;
}

/// Files of the data folder that are damaged, or gone: what they are, and what to do.
#[test]
fn lost_files_of_the_data_folder_are_named_with_what_to_do() {
    let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let (code, told) = said(&pair, &["key", "create", "search"]);
    assert_eq!(code, 0, "{told}");
    pair.gateway.stop();
    let start = || Server::try_start(&mut setup.command(&binary(), &pair.simulator.url, pair.folder()));
    for file in ["jobs.sqlite", "alerts.sqlite"] {
        let path = data(&pair).join(file);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, "no database at all ".repeat(100)).unwrap();
        let refused = start().err().unwrap();
        let named =
            format!("{}: file is not a database; put the file back from a copy, or move it away", path.display());
        assert!(refused.contains(&named), "{refused}");
        std::fs::write(&path, whole).unwrap();
    }
    let root = data(&pair).join("key-root");
    let whole = std::fs::read(&root).unwrap();
    std::fs::write(&root, "short").unwrap();
    let refused = start().err().unwrap();
    assert!(refused.contains("this is not the root of key pairs: put the file back from a copy"), "{refused}");
    std::fs::write(&root, whole).unwrap();
    let mut again = start().unwrap();
    again.stop();
    assert!(!again.log_so_far().iter().any(|line| line.contains("the root of key pairs")));
    std::fs::remove_file(&root).unwrap();
    let again = start().unwrap();
    let warned = again.wait_for_log("the root of key pairs was gone");
    assert!(warned.contains("kairos key rotate"), "{warned}");
}
