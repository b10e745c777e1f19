use super::*;
use proptest::prelude::*;
use tokio::time::advance;

const LIMIT: u64 = 1_000;
const MINUTE_MS: u64 = 60_000;

fn rate(name: &str, limit: Limit) -> Rate {
    Rate { name: name.into(), key: None, model: None, each_key: false, limit }
}

fn rates(rates: Vec<Rate>) -> Rates {
    Rates::new(Bounds::default(), rates)
}

fn both(requests: u64, tokens: u64) -> Limit {
    Limit { requests: Some(requests), tokens: Some(tokens) }
}

fn ask<'a>(key: &'a Arc<str>, model: usize, tokens: u64) -> Ask<'a> {
    Ask { key, own: Limit::default(), model, priority: Priority::Normal, tokens }
}

fn used(tokens: u64) -> Ending {
    let usage = Usage { input: tokens, ..Usage::default() };
    Ending::Settled { cost: crate::money::Picodollars::ZERO, usage }
}

/// Runs on a clock that only moves when it is told to.
fn on_own_clock(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work);
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Ask(u64),
    /// One that is under way ends, having used so many hundredths of what it may.
    End(usize, u64),
    /// One that is under way was never sent.
    Lose(usize),
}

fn step(most_used: u64) -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..20_000u64).prop_map(Step::Pass),
        (1..600u64).prop_map(Step::Ask),
        (1..600u64).prop_map(Step::Ask),
        (any::<usize>(), 0..=most_used).prop_map(|(which, part)| Step::End(which, part)),
        any::<usize>().prop_map(Step::Lose),
    ]
}

/// Goes through the steps; after each attempt that is let through, says when, and what counts.
async fn play(steps: &[Step], mut let_through: impl FnMut(u64, &[(u64, u64)])) -> Vec<(u64, u64)> {
    let rates = rates(vec![rate("tokens", both(7, LIMIT))]);
    let key: Arc<str> = "key".into();
    let mut counted: Vec<(u64, u64)> = Vec::new();
    let mut open: Vec<(usize, Held<'_>)> = Vec::new();
    let mut now = 0;
    for step in steps {
        match *step {
            Step::Pass(ms) => {
                advance(Duration::from_millis(ms)).await;
                now += ms;
            }
            Step::Ask(tokens) => {
                if let Some(held) = rates.free(&ask(&key, 0, tokens)) {
                    open.push((counted.len(), held));
                    counted.push((now, tokens));
                    let_through(now, &counted);
                }
            }
            Step::End(which, part) if !open.is_empty() => {
                let (place, held) = open.swap_remove(which % open.len());
                held.mark_sent();
                let tokens = held.need.tokens * part / 100;
                held.ended(&used(tokens), 1);
                drop(held);
                // What is more counts from its end on.
                let most = counted[place].1;
                counted[place].1 = tokens.min(most);
                counted.push((now, tokens - tokens.min(most)));
            }
            Step::Lose(which) if !open.is_empty() => {
                let (place, held) = open.swap_remove(which % open.len());
                drop(held);
                counted[place].1 = 0;
            }
            Step::End(..) | Step::Lose(_) => {}
        }
    }
    // Whoever is left, nothing is left over of them a minute later.
    open.clear();
    advance(Duration::from_millis(MINUTE_MS + 1_000)).await;
    assert_eq!(rates.status()[0].used, Amount::default());
    counted
}

/// What counts in the minute that ends at a time.
fn minute(counted: &[(u64, u64)], end: u64) -> u64 {
    counted.iter().filter(|(at, _)| *at <= end && at + MINUTE_MS > end).map(|(_, tokens)| tokens).sum()
}

proptest! {
    /// Whatever is asked for, given back and never sent: no minute, wherever it begins, has more than the limit.
    #[test]
    fn no_minute_has_more_than_the_limit(steps in prop::collection::vec(step(100), 1..200)) {
        on_own_clock(async {
            let counted = play(&steps, |_, _| {}).await;
            for (end, _) in &counted {
                assert!(minute(&counted, *end) <= LIMIT, "{counted:?}");
            }
        });
    }

    /// Where more is used than was reckoned with, as with a burndown, nothing more is let through until it fits.
    #[test]
    fn nothing_is_let_through_that_does_not_fit(steps in prop::collection::vec(step(500), 1..200)) {
        on_own_clock(async {
            play(&steps, |now, counted| assert!(minute(counted, now) <= LIMIT, "{now} {counted:?}")).await;
        });
    }

    /// What a refused caller is told is true: a millisecond earlier there is no room, then there is.
    #[test]
    fn there_is_room_when_it_is_said_and_not_before(
        earlier in prop::collection::vec((0..15_000u64, 1..500u64), 1..12),
        tokens in 1..=LIMIT,
    ) {
        on_own_clock(async {
            let rates = rates(vec![rate("tokens", both(3, LIMIT))]);
            let key: Arc<str> = "key".into();
            for (ms, tokens) in earlier {
                advance(Duration::from_millis(ms)).await;
                if let Some(held) = rates.free(&ask(&key, 0, tokens)) {
                    held.mark_sent();
                }
            }
            let next = ask(&key, 0, tokens);
            let covering = rates.covering(&next);
            let rank = (Reverse(Priority::Normal as u8), 0);
            let need = Amount { requests: 1, tokens };
            let look = |state: &mut State| rates.look(state, &covering, need, rank);
            let Look::Later(_, at) = look(&mut rates.state()) else { return };
            let wait = at - rates.now_ms();
            advance(Duration::from_millis(wait - 1)).await;
            assert!(matches!(look(&mut rates.state()), Look::Later(..)));
            advance(Duration::from_millis(1)).await;
            assert!(matches!(look(&mut rates.state()), Look::Free(_)));
        });
    }
}

#[test]
fn every_limit_that_covers_an_attempt_has_room_or_none_is_touched() {
    on_own_clock(async {
        let of_model = Rate { model: Some(1), ..rate("model", both(10, 100)) };
        let of_each = Rate { each_key: true, ..rate("each", both(2, 1_000)) };
        let of_key = Rate { key: Some("b".into()), model: Some(2), ..rate("b-on-2", both(10, 50)) };
        let rates = rates(vec![of_model, of_each, of_key]);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let through = |key, model, tokens| {
            let held = rates.free(&ask(key, model, tokens));
            held.inspect(Held::mark_sent).is_some()
        };
        assert!(through(&a, 1, 90));
        // The model has no room, and the key is not charged for it.
        assert!(!through(&a, 1, 20));
        assert!(through(&a, 2, 500));
        // Two requests, one key; another has its own.
        assert!(!through(&a, 3, 1));
        assert!(through(&b, 2, 50));
        assert!(!through(&b, 2, 1));
        assert!(through(&b, 3, 1));
        // A key's own limit.
        let c: Arc<str> = "c".into();
        let asks = Ask { own: both(1, 10), ..ask(&c, 9, 3) };
        assert!(rates.free(&asks).inspect(Held::mark_sent).is_some() && rates.free(&asks).is_none());
        let told: Vec<_> = rates.status().into_iter().map(|status| (status.name, status.used)).collect();
        let amount = |requests, tokens| Amount { requests, tokens };
        let expected =
            [("model", amount(1, 90)), ("each", amount(2, 590)), ("b-on-2", amount(1, 50)), ("key", amount(1, 3))];
        assert_eq!(told, expected.map(|(name, used)| (Arc::from(name), used)));
    });
}

#[test]
fn the_first_in_line_goes_first_where_they_wait_for_the_same() {
    on_own_clock(async {
        let of_model = |model| Rate { model: Some(model), ..rate("model", both(10, 100)) };
        let rates = rates(vec![of_model(0), of_model(1)]);
        let key: Arc<str> = "key".into();
        let held = rates.free(&ask(&key, 0, 80)).unwrap();
        held.mark_sent();
        let large = ask(&key, 0, 60);
        let covering = rates.covering(&large);
        let need = Amount { requests: 1, tokens: 60 };
        let rank = (Reverse(Priority::Normal as u8), 0);
        let waits = Waits::begin(&rates, &mut rates.state(), rank, &covering, need);
        // A small one would fit, and would keep the large one waiting for ever.
        assert!(rates.free(&ask(&key, 0, 10)).is_none());
        // One of higher priority goes first, and so does one that asks another model.
        assert!(rates.free(&Ask { priority: Priority::High, ..ask(&key, 0, 10) }).is_some());
        assert!(rates.free(&ask(&key, 1, 10)).is_some());
        drop(waits);
        assert!(rates.free(&ask(&key, 0, 10)).is_some());
        assert_eq!(rates.kept(), (0, 2));
    });
}

#[test]
fn what_was_used_counts_as_bedrock_counts_it() {
    let usage = Usage {
        input: 10,
        output: 20,
        cache_read: 1_000,
        cache_write_5m: 3,
        cache_write_1h: 4,
        cache_write_unknown: 5,
        ..Usage::default()
    };
    assert_eq!(tokens(&usage, 1), 42);
    assert_eq!(tokens(&usage, 5), 122);
    assert_eq!(tokens(&Usage { output: u64::MAX, ..usage }, 5), u64::MAX);
}

#[test]
fn minutes_of_idle_keys_make_room_and_busy_ones_do_not() {
    on_own_clock(async {
        let each = Rate { each_key: true, ..rate("each", both(1, 10)) };
        let rates = Rates::new(Bounds { windows: 2, ..Bounds::default() }, vec![each]);
        let through = |key: &str| rates.free(&ask(&key.into(), 0, 1)).inspect(Held::mark_sent).is_some();
        assert!(through("a") && through("b"));
        assert!(!through("c"));
        advance(Duration::from_secs(61)).await;
        assert!(through("c"));
        assert_eq!(rates.kept(), (0, 1));
    });
}
