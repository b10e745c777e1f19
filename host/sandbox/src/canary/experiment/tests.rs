//! What is decided, by simulation in process: thousands of requests, in the order in which they begin.

use super::*;
use crate::canary::report::Measure;

/// SplitMix64: numbers in [0, 1).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

const DAY_MS: u64 = 24 * 3_600_000;

/// How an arm does.
#[derive(Clone, Copy)]
struct Does {
    errors: f64,
    latency: f64,
    cost: f64,
    /// The chance of a good rating, and that of being rated at all.
    quality: f64,
    rated: f64,
}

const USUAL: Does = Does { errors: 0.01, latency: 1.0, cost: 1.0, quality: 0.8, rated: 0.0 };

fn plan(share: f64, auto: bool) -> Plan {
    Plan {
        share,
        sticky: None,
        auto,
        metric: "quality".to_owned(),
        tries_before: 0,
        rule: Rule::default(),
        loaded_with: [String::new(), String::new()],
    }
}

/// An experiment, and those who take part.
struct World {
    experiment: Experiment,
    chance: Chance,
    requests: u64,
}

impl World {
    fn new(plan: Plan, seed: u64) -> Self {
        Self { experiment: Experiment::new(plan), chance: Chance(seed), requests: 0 }
    }

    /// One request.
    fn request(&mut self, baseline: Does, canary: Does) {
        let share = self.experiment.share();
        let arm = if self.chance.next() < share { Arm::Canary } else { Arm::Baseline };
        let does = if arm == Arm::Canary { canary } else { baseline };
        let ticket = self.requests;
        self.requests += 1;
        let assigned = Assigned { experiment: 1, ticket, arm, share, unit: None };
        self.experiment.assigned(&assigned, ticket);
        let failed = self.chance.next() < does.errors;
        let latency_ms = does.latency * (100.0 + 200.0 * self.chance.next());
        let cost = (does.cost * 1e6 * (1.0 + self.chance.next())) as u64;
        self.experiment.ended(ticket, Went { failed, latency_ms, cost });
        self.experiment.settle(ticket);
        if self.chance.next() < does.rated {
            let value = f64::from(u8::from(self.chance.next() < does.quality));
            self.experiment.rated(&assigned, "quality", value);
        }
        self.experiment.grow();
    }

    /// So many requests at most, until there is a verdict.
    fn until(&mut self, most: u64, baseline: Does, canary: Does) -> Option<Verdict> {
        for _ in 0..most {
            self.request(baseline, canary);
            if self.requests.is_multiple_of(10)
                && let Some(verdict) = self.experiment.verdict(DAY_MS)
            {
                return Some(verdict);
            }
        }
        None
    }

    fn measure(&self, variable: Variable) -> Measure {
        self.experiment.measures().into_iter().find(|measure| measure.variable == variable).unwrap()
    }
}

#[test]
fn what_is_worse_is_rolled_back_and_it_is_said_why() {
    let rated = Does { rated: 0.5, ..USUAL };
    for (canary, why, most) in [
        (Does { errors: 1.0, ..USUAL }, "errors", 400),
        (Does { errors: 0.3, ..USUAL }, "errors", 2_000),
        (Does { latency: 2.0, ..USUAL }, "latency", 6_000),
        (Does { cost: 3.0, ..USUAL }, "cost", 6_000),
        (Does { quality: 0.4, ..rated }, "quality", 8_000),
    ] {
        let baseline = if canary.rated > 0.0 { rated } else { USUAL };
        let mut world = World::new(plan(0.05, false), 7);
        let verdict = world.until(most, baseline, canary).unwrap_or_else(|| panic!("{why}: still there"));
        assert_eq!((verdict.what, verdict.why.as_str()), (What::RolledBack, why), "{verdict:?}");
        println!("{} requests: {}", world.requests, verdict.text);
        let expected = format!("rolled back by itself: {why} ");
        assert!(verdict.text.starts_with(&expected) && verdict.text.contains("; tolerance "), "{}", verdict.text);
    }
}

#[test]
fn one_that_fails_always_is_found_before_anything_is_learned() {
    let mut world = World::new(plan(0.5, false), 3);
    let verdict = world.until(100, USUAL, Does { errors: 1.0, ..USUAL }).unwrap();
    assert!(world.measure(Variable::Errors).canary_n < 20, "{}", verdict.text);
    assert!(world.experiment.measured.usual.is_none());
}

#[test]
fn an_equal_one_is_neither_rolled_back_nor_promoted() {
    for auto in [false, true] {
        let mut world = World::new(plan(0.05, auto), 11);
        assert_eq!(world.until(20_000, USUAL, USUAL), None, "auto: {auto}");
        // Without feedback it waits, and says for what.
        let waits = world.experiment.waits_for(DAY_MS);
        assert!(waits.contains(&"feedback on both arms: the metric \"quality\"".to_owned()), "{waits:?}");
    }
    // Rated alike, and as dear: as good, and no reason to change anything.
    let rated = Does { rated: 1.0, ..USUAL };
    let mut world = World::new(plan(0.25, true), 12);
    assert_eq!(world.until(20_000, rated, rated), None);
    assert!(!world.experiment.waits_for(DAY_MS).is_empty());
}

#[test]
fn what_is_as_good_and_cheaper_or_better_is_promoted() {
    let rated = Does { rated: 1.0, errors: 0.005, ..USUAL };
    for (canary, why) in [
        (Does { cost: 0.5, ..rated }, "it is as good, and costs less"),
        (Does { quality: 0.95, ..rated }, "it is rated better"),
    ] {
        let mut world = World::new(plan(0.05, true), 5);
        let verdict =
            world.until(60_000, rated, canary).unwrap_or_else(|| panic!("{:?}", world.experiment.waits_for(DAY_MS)));
        assert_eq!((verdict.what, verdict.why.as_str()), (What::Promoted, why), "{verdict:?}");
        println!("{} requests: {}", world.requests, verdict.text);
        assert_eq!(world.experiment.share(), 0.25);
        // Not before its time, whatever is known; and never where a person is to do it.
        assert_eq!(world.experiment.verdict(DAY_MS - 3_600_000), None);
        assert_eq!(world.experiment.waits_for(DAY_MS - 3_600_000), ["1.0 more hours"]);
        world.experiment.plan.auto = false;
        assert_eq!(world.experiment.verdict(DAY_MS), None);
    }
}

#[test]
fn nothing_is_promoted_on_what_is_not_known() {
    // Rated far better, and failing more, by less than is found out soon.
    let rated = Does { rated: 1.0, errors: 0.02, ..USUAL };
    let mut world = World::new(plan(0.05, true), 9);
    let verdict = world.until(20_000, rated, Does { errors: 0.05, quality: 0.95, ..rated });
    assert!(verdict.is_none_or(|verdict| verdict.what == What::RolledBack));
    // Better with few, worse with many.
    let mut world = World::new(plan(0.05, true), 10);
    let better = Does { rated: 1.0, quality: 0.95, ..USUAL };
    while world.experiment.share() < 0.25 {
        world.request(Does { rated: 1.0, ..USUAL }, better);
    }
    let verdict = world.until(8_000, Does { rated: 1.0, ..USUAL }, Does { quality: 0.7, ..better });
    assert!(verdict.is_none_or(|verdict| verdict.what == What::RolledBack));
}

#[test]
fn the_word_of_one_arms_callers_only_says_nothing() {
    let (often, seldom) = (Does { rated: 0.8, ..USUAL }, Does { rated: 0.2, quality: 1.0, ..USUAL });
    let mut world = World::new(plan(0.25, true), 4);
    assert_eq!(world.until(6_000, often, seldom), None);
    let waits = world.experiment.waits_for(DAY_MS);
    assert!(waits.iter().any(|what| what.starts_with("both arms to be rated about as often")), "{waits:?}");
    let mut world = World::new(plan(0.25, true), 4);
    assert_eq!(world.until(6_000, often, Does { quality: 0.0, ..seldom }), None, "nor is it rolled back for it");
    // Another metric is not what was registered.
    let before = world.measure(Variable::Quality);
    let assigned = Assigned { experiment: 1, ticket: 0, arm: Arm::Canary, share: 0.25, unit: None };
    world.experiment.rated(&assigned, "speed", 1.0);
    world.experiment.rated(&assigned, "quality", f64::NAN);
    assert_eq!(world.measure(Variable::Quality), before);
}

#[test]
fn without_traffic_it_waits() {
    let mut experiment = Experiment::new(plan(0.05, true));
    experiment.settle(u64::MAX);
    assert_eq!((experiment.verdict(u64::MAX), experiment.grow()), (None, None));
    assert_eq!(experiment.waits_for(0), ["200 more requests of the baseline, to learn what is usual"]);
    assert_eq!(experiment.measures().len(), 2, "nothing is said of what is not known");
}

#[test]
fn the_share_grows_by_steps() {
    let mut world = World::new(plan(0.01, true), 6);
    let mut shares = vec![world.experiment.share()];
    for _ in 0..30_000 {
        world.request(USUAL, USUAL);
        if *shares.last().unwrap() != world.experiment.share() {
            shares.push(world.experiment.share());
        }
    }
    assert_eq!(shares, [0.01, 0.05, 0.25]);
    let mut fixed = World::new(plan(0.01, false), 6);
    (0..30_000).for_each(|_| fixed.request(USUAL, USUAL));
    assert_eq!(fixed.experiment.share(), 0.01);
}

#[test]
fn more_tries_of_one_version_need_more_evidence() {
    let better = Does { rated: 1.0, quality: 0.95, errors: 0.0, ..USUAL };
    let after = |tries_before| {
        let mut world = World::new(Plan { tries_before, ..plan(0.25, true) }, 8);
        world.until(60_000, Does { quality: 0.85, ..better }, better).unwrap();
        world.measure(Variable::Quality).canary_n
    };
    let last = |tries_before| {
        let experiment = Experiment::new(Plan { tries_before, ..plan(0.25, true) });
        experiment.measured.last_quality
    };
    assert_ne!(last(0), last(1));
    assert!(after(0) <= after(9));
}

#[test]
fn of_a_value_of_a_tag_the_first_request_counts() {
    let mut experiment = Experiment::new(plan(0.5, false));
    for ticket in 0..100 {
        let unit = Some(ticket % 10);
        let arm = if ticket % 2 == 0 { Arm::Canary } else { Arm::Baseline };
        experiment.assigned(&Assigned { experiment: 1, ticket, arm, share: 0.5, unit }, 0);
        experiment.ended(ticket, Went { failed: true, ..Went::default() });
        experiment.settle(0);
    }
    let errors = &experiment.measures()[0];
    assert_eq!((errors.baseline_n, errors.canary_n), (5, 5));
    let rated = Assigned { experiment: 1, ticket: 0, arm: Arm::Canary, share: 0.5, unit: Some(4) };
    let once = |experiment: &mut Experiment| {
        experiment.rated(&rated, "quality", 1.0);
        experiment.measures().last().unwrap().canary_n
    };
    assert_eq!([once(&mut experiment), once(&mut experiment)], [1, 1]);
    let errors = &experiment.measures()[0];
    // Also after a restart.
    let mut again = Experiment::go_on(plan(0.5, false), &experiment.state().unwrap()).unwrap();
    again.assigned(&Assigned { experiment: 1, ticket: 0, arm: Arm::Canary, share: 0.5, unit: Some(3) }, 0);
    again.ended(0, Went::default());
    again.settle(0);
    assert_eq!(again.measures()[0], *errors);
}

#[test]
fn requests_count_in_the_order_in_which_they_began() {
    let mut experiment = Experiment::new(plan(0.5, false));
    let begin = |experiment: &mut Experiment, ticket, arm, at| {
        experiment.assigned(&Assigned { experiment: 1, ticket, arm, share: 0.5, unit: None }, at);
    };
    begin(&mut experiment, 0, Arm::Canary, 0);
    begin(&mut experiment, 1, Arm::Canary, 10);
    begin(&mut experiment, 2, Arm::Baseline, 20);
    // A failure that came soon waits for what began before it.
    experiment.ended(1, Went { failed: true, ..Went::default() });
    experiment.ended(7, Went { failed: true, ..Went::default() });
    experiment.settle(1_000);
    assert_eq!(experiment.measures()[0].canary_n, 0);
    experiment.ended(0, Went::default());
    experiment.settle(1_000);
    assert_eq!((experiment.measures()[0].canary_n, experiment.measures()[0].baseline_n), (2, 0));
    // What does not end within a minute counts as it is.
    experiment.settle(60_019);
    assert_eq!(experiment.measures()[0].baseline_n, 0);
    experiment.settle(60_020);
    assert_eq!(experiment.measures()[0].baseline_n, 1);
    experiment.ended(2, Went { failed: true, ..Went::default() });
    experiment.settle(60_020);
    assert_eq!(experiment.measures()[0].baseline, Some(0.0));
}

#[test]
fn it_goes_on_from_text_where_it_was() {
    let mut whole = World::new(plan(0.25, false), 13);
    let mut parted = World::new(plan(0.25, false), 13);
    for i in 0..1_000 {
        whole.request(USUAL, USUAL);
        parted.request(USUAL, USUAL);
        if i == 100 || i == 500 {
            let state = parted.experiment.state().unwrap();
            parted.experiment = Experiment::go_on(plan(0.25, false), &state).unwrap();
        }
    }
    let counts =
        |world: &World| world.experiment.measures().iter().map(|m| (m.baseline_n, m.canary_n)).collect::<Vec<_>>();
    assert_eq!(counts(&whole), counts(&parted));
    assert!(Experiment::go_on(plan(0.25, false), "{}").is_err());
}

#[test]
fn what_is_said_is_for_people() {
    let mut world = World::new(plan(0.05, false), 7);
    let verdict = world.until(6_000, USUAL, Does { cost: 3.0, ..USUAL }).unwrap();
    let measure = world.measure(Variable::Cost);
    // Three times 1.5 microdollars: the difference is 3, and 10 % of the mean are tolerated.
    assert!((2.0e-6..4.0e-6).contains(&measure.difference.unwrap()), "{measure:?}");
    assert!((0.14e-6..0.16e-6).contains(&measure.tolerance), "{measure:?}");
    assert!(measure.low > 0.0 && measure.high < 1e-5, "{measure:?}");
    assert!(
        verdict.text.contains("cost +0.00000") && verdict.text.contains("tolerance +0.000000150 USD"),
        "{}",
        verdict.text
    );
    let mut early = World::new(plan(0.05, false), 7);
    (0..400).for_each(|_| early.request(USUAL, Does { cost: 1.3, ..USUAL }));
    assert!(
        early.measure(Variable::Cost).until_worse.is_some_and(|more| more > 10),
        "{:?}",
        early.measure(Variable::Cost)
    );
}
