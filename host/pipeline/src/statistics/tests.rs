//! What is promised, by simulation: how often it is wrong, and how soon it finds what is there. Seeds are
//! fixed, so that each run is the same.

use super::*;

const ALPHA: f64 = 0.05;

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

    fn one_in(&mut self, chance: f64) -> f64 {
        f64::from(u8::from(self.next() < chance))
    }
}

/// Arms whose capital is only counted at these points: simulations are many.
fn arms_at(alpha: f64, points: &[f64]) -> Arms {
    Arms { difference: Sequence::of(alpha, points.to_vec()), ..Arms::new(alpha, &[]) }
}

/// Of `runs`, those that came to a finding within so many steps, and the median steps that these took.
fn found(runs: u64, steps: u64, mut run: impl FnMut(&mut Chance, &mut dyn FnMut() -> bool)) -> (u64, u64) {
    let mut taken = Vec::new();
    for seed in 0..runs {
        let (mut left, mut chance) = (steps, Chance(seed));
        let mut within = || {
            left = left.saturating_sub(1);
            left > 0
        };
        run(&mut chance, &mut within);
        if left > 0 {
            taken.push(steps - left);
        }
    }
    taken.sort_unstable();
    (taken.len() as u64, taken.get(taken.len() / 2).copied().unwrap_or(0))
}

/// Runs in which a difference of errors above `tolerance` was found, and the median of requests.
fn errors(runs: u64, steps: u64, rates: [f64; 2], share: f64, tolerance: f64) -> (u64, u64) {
    found(runs, steps, |chance, within| {
        let mut arms = arms_at(ALPHA / 3.0, &[tolerance]);
        while !arms.difference.exceeds(tolerance) && within() {
            let second = chance.next() < share;
            let x = chance.one_in(rates[usize::from(second)]);
            arms.push(x, second, share).unwrap();
        }
    })
}

#[test]
fn arms_that_are_alike_are_seldom_told_apart_however_long_one_looks() {
    // Each is looked at after each of its requests: an interval for one look would be wrong in most runs.
    for share in [0.05, 0.5] {
        let (wrong, _) = errors(1_000, 2_000, [0.02, 0.02], share, 0.0);
        println!("share {share}: {wrong} of 1000");
        assert!(wrong as f64 <= 1_000.0 * ALPHA / 3.0, "{share}: {wrong} of 1000");
    }
    let (wrong, _) = found(1_000, 2_000, |chance, within| {
        let mut arms = arms_at(ALPHA, &[0.0]);
        while !arms.difference.exceeds(0.0) && !arms.difference.is_below(0.0) && within() {
            let second = chance.next() < 0.5;
            arms.push(chance.one_in(0.8), second, 0.5).unwrap();
        }
    });
    assert!(wrong <= 100, "two tests at 5 % each: {wrong} of 1000");
}

#[test]
fn neither_a_drift_of_both_nor_a_share_that_is_ramped_is_a_difference() {
    let (wrong, _) = found(1_000, 3_000, |chance, within| {
        let mut arms = arms_at(ALPHA, &[0.0]);
        let mut i = 0.0;
        while !arms.difference.exceeds(0.0) && within() {
            i += 1.0;
            // From 5 % to 50 % of errors, while the share goes from 1 % over 5 % to 25 %: most of what the
            // second arm does, it does in worse times.
            let (rate, share) = (0.05 + 0.15 * i / 1_000.0, [0.01, 0.05, 0.25][(i as usize / 1_000).min(2)]);
            let second = chance.next() < share;
            arms.push(chance.one_in(rate), second, share).unwrap();
        }
    });
    assert!(wrong as f64 <= 1_000.0 * ALPHA, "{wrong} of 1000");
}

#[test]
fn values_that_are_not_zero_or_one_are_no_different() {
    // Skewed, as costs are: most are small, few are large. Both arms alike.
    let (wrong, _) = found(1_000, 2_000, |chance, within| {
        let mut arms = arms_at(ALPHA, &[0.0]);
        while !arms.difference.exceeds(0.0) && within() {
            let second = chance.next() < 0.05;
            arms.push(chance.next().powi(12), second, 0.05).unwrap();
        }
    });
    assert!(wrong as f64 <= 1_000.0 * ALPHA, "{wrong} of 1000");
}

#[test]
fn what_is_worse_is_found_and_the_worse_the_sooner() {
    let soon = |rate: f64| {
        let (found, requests) = errors(100, 20_000, [0.02, rate], 0.05, 0.01);
        assert!(found >= 95, "{rate}: {found} of 100");
        requests / 20
    };
    let canary = [1.0, 0.5, 0.12, 0.07].map(soon);
    for (took, most) in canary.into_iter().zip([10, 20, 200, 500]) {
        assert!(took <= most, "{canary:?}");
    }
}

#[test]
fn means_are_those_of_the_whole_where_the_share_changes() {
    // Worse times came with a larger share: the plain mean of the second arm would be worse for it.
    let (mut chance, mut arms) = (Chance(1), arms_at(ALPHA, &[0.0]));
    for i in 0..20_000 {
        let (rate, share) = if i < 10_000 { (0.1, 0.05) } else { (0.5, 0.25) };
        let second = chance.next() < share;
        arms.push(chance.one_in(rate), second, share).unwrap();
    }
    let (first, second) = (arms.first().value().unwrap(), arms.second().value().unwrap());
    assert!((first - 0.3).abs() < 0.02 && (second - 0.3).abs() < 0.04, "{first} {second}");
    assert!(arms.estimate().unwrap().abs() < 0.04 && arms.difference.estimate().unwrap().abs() < 0.04);
}

#[test]
fn a_ratio_is_told_without_knowing_what_it_is_of() {
    let run = |factor: f64, within: bool| {
        found(100, 6_000, |chance, more| {
            let mut ratio = Ratio::new(ALPHA, 1.1);
            let over = |ratio: &Ratio| {
                if within { ratio.excess.is_below(0.0) } else { ratio.excess.exceeds(0.0) }
            };
            while !over(&ratio) && more() {
                let second = chance.next() < 0.05;
                let x = chance.next().powi(4) * 0.5 * if second { factor } else { 1.0 };
                ratio.push(x, second, 0.05).unwrap();
            }
        })
    };
    // Ten per cent more is at the bound: shown neither to be above it nor below, whatever the mean is.
    for within in [false, true] {
        let (wrong, _) = run(1.1, within);
        assert!(wrong as f64 <= 100.0 * ALPHA, "{within}: {wrong} of 100");
    }
    let (twice, requests) = run(2.0, false);
    assert!(twice >= 90 && requests < 3_000, "{twice} of 100, {requests}");
    let (half, _) = run(0.5, true);
    assert!(half >= 90, "{half} of 100");
}

#[test]
fn what_is_within_a_tolerance_is_shown_to_be() {
    // Equal quality, fed back for half of the requests: not worse by more than 2 points.
    let (shown, requests) = found(20, 30_000, |chance, within| {
        let mut arms = arms_at(ALPHA, &[-0.02]);
        while !arms.difference.exceeds(-0.02) && within() {
            let second = chance.next() < 0.5;
            arms.push(chance.one_in(0.8), second, 0.5).unwrap();
        }
    });
    assert!(shown >= 14 && requests < 20_000, "{shown} of 20, {requests}");
}

#[test]
fn the_interval_holds_the_truth_at_every_time_and_narrows() {
    let (mut missed, mut widths) = (0, Vec::new());
    for seed in 0..200 {
        let (mut chance, mut arms) = (Chance(seed), Arms::new(ALPHA / 2.0, &[]));
        let mut holds = true;
        for i in 1..=600 {
            let second = chance.next() < 0.5;
            arms.push(chance.one_in(if second { 0.7 } else { 0.5 }), second, 0.5).unwrap();
            if i % 20 == 0 {
                let Interval { low, high } = arms.difference.interval();
                holds &= (low..=high).contains(&0.2);
            }
        }
        missed += u32::from(!holds);
        let Interval { low, high } = arms.difference.interval();
        widths.push(high - low);
    }
    assert!(missed <= 10, "{missed} of 200");
    widths.sort_by(f64::total_cmp);
    assert!((0.1..0.5).contains(&widths[100]), "{}", widths[100]);
}

#[test]
fn nothing_seen_is_nothing_known() {
    let arms = Arms::new(ALPHA, &[0.01]);
    assert_eq!(arms.difference.interval(), Interval { low: -1.0, high: 1.0 });
    assert_eq!((arms.difference.estimate(), arms.difference.until_exceeds(0.01)), (None, None));
    assert!(!arms.difference.exceeds(-0.99) && !arms.difference.is_below(0.99));
    assert_eq!((arms.first().value(), arms.estimate()), (None, None));
}

#[test]
fn a_policy_that_is_the_same_differs_by_nothing() {
    // As replay counts where the same was decided: always 0.
    let mut same = Sequence::new(ALPHA, &[]);
    (0..2_000).for_each(|_| same.push(0.0, 1.0).unwrap());
    let Interval { low, high } = same.interval();
    assert_eq!(same.estimate(), Some(0.0));
    assert!(low < 0.0 && high > 0.0 && high - low < 0.02, "{low} {high}");
}

#[test]
fn what_is_left_is_about_what_it_takes() {
    let (mut said, mut took) = (Vec::new(), Vec::new());
    for seed in 0..60 {
        let (mut chance, mut arms) = (Chance(seed), arms_at(ALPHA, &[0.0]));
        for i in 1..=20_000_u64 {
            let second = chance.next() < 0.5;
            arms.push(chance.one_in(if second { 0.28 } else { 0.2 }), second, 0.5).unwrap();
            if i == 200 {
                said.push(arms.difference.until_exceeds(0.0).unwrap_or(u64::MAX));
            }
            if arms.difference.exceeds(0.0) {
                assert_eq!((arms.difference.until_exceeds(0.0), arms.difference.until_below(0.0)), (Some(0), None));
                took.extend(i.checked_sub(200));
                break;
            }
        }
    }
    assert!(said.len() == took.len() && said.len() > 40, "{} {}", said.len(), took.len());
    said.sort_unstable();
    took.sort_unstable();
    let (said, took) = (said[said.len() / 2], took[took.len() / 2]);
    assert!(said < took * 2 && took < said * 2, "said {said}, took {took}");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut arms = Arms::new(ALPHA, &[]);
    arms.push(0.5, true, 0.5).unwrap();
    let before = arms.clone();
    for (x, share) in [(f64::NAN, 0.5), (-0.1, 0.5), (1.1, 0.5), (0.5, 0.0), (0.5, 1.0), (0.5, f64::NAN), (0.5, 1.5)] {
        arms.push(x, true, share).unwrap_err();
        arms.push(x, false, share).unwrap_err();
    }
    let sequence = &mut arms.difference;
    for (d, m) in
        [(f64::NAN, 1.0), (1.5, 1.0), (f64::INFINITY, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, 2.0), (0.0, f64::NAN)]
    {
        let error = sequence.push(d, m).unwrap_err();
        assert!(error.to_string().contains("is not an observation within -1 and 1"), "{error}");
    }
    sequence.push_within(0.3, 1.0, -0.2, 0.2).unwrap_err();
    sequence.push_within(0.0, 1.0, 0.1, 0.2).unwrap_err();
    assert_eq!(arms, before);
}

#[test]
fn it_goes_on_from_text_where_it_was() {
    let (mut chance, mut arms) = (Chance(9), Arms::new(ALPHA, &[0.01, -0.02]));
    let mut moved = arms.clone();
    // Enough for capitals to be as large, and as small, as they are counted.
    for i in 0..3_000 {
        if i % 500 == 499 {
            moved = serde_json::from_str(&serde_json::to_string(&moved).unwrap()).unwrap();
        }
        let second = chance.next() < 0.5;
        arms.push(f64::from(u8::from(second)), second, 0.5).unwrap();
        moved.push(f64::from(u8::from(second)), second, 0.5).unwrap();
    }
    // The last bit of a number may be lost on the way: that is a point of the grid at most.
    let (one, other) = (moved.difference.interval(), arms.difference.interval());
    assert!((one.low - other.low).abs() < 0.1 && (one.high - other.high).abs() < 0.1, "{one:?} {other:?}");
    assert_eq!((moved.second().n, moved.difference.n()), (arms.second().n, 3_000));
    assert!(arms.difference.interval().low > 0.8, "{:?}", arms.difference.interval());
}
