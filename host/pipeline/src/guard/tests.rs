//! What passes does not depend on how it comes; and what a guard can get wrong.

use std::collections::VecDeque;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::guards::Pii;
use crate::policy::tests::request_info;
use crate::policy::{Identity, MOST_HELD, Origin, Replacement};

const PASSAGE: Passage = Passage { direction: Direction::Output, origin: Origin::Assistant, index: 0 };

fn identity() -> Identity {
    Identity::new("g", "0", vec![(1, "x".into()), (2, "stop".into())], Vec::new())
}

/// Numbers each `x`, stops at `!`, and leaves as much undecided as it may.
struct Marks {
    identity: Identity,
    hold_back: usize,
    /// What it was shown: bytes, and whether they were the last.
    calls: Mutex<Vec<(usize, bool)>>,
}

impl Marks {
    fn holding(hold_back: usize) -> Self {
        Self { identity: identity(), hold_back, calls: Mutex::default() }
    }
}

impl Guard for Marks {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn hold_back(&self) -> usize {
        self.hold_back
    }

    fn inspect(&self, input: InspectInput<'_>) -> Result<Verdict, PolicyError> {
        let InspectInput { state, text, last, .. } = input;
        self.calls.lock().unwrap().push((text.len(), last));
        let held = if last { 0 } else { self.hold_back };
        let decided = text.ceil_char_boundary(text.len().saturating_sub(held));
        let blocks = text[..decided].find('!');
        let decided = blocks.unwrap_or(decided);
        let mut count = state.first().copied().unwrap_or(0);
        let mut replacements = Vec::new();
        for (at, _) in text[..decided].match_indices('x') {
            count = (count + 1) % 10;
            let text = format!("<{count}>").into();
            replacements.push(Replacement { start: at as u32, end: at as u32 + 1, text });
        }
        let found = [(1, replacements.len() as u32), (2, blocks.map_or(0, |_| 1))];
        Ok(Verdict {
            state: vec![count],
            decided: decided as u32,
            findings: found.into_iter().filter(|(_, count)| *count > 0).collect(),
            replacements,
            blocked: blocks.map(|_| 2),
            settings: Vec::new(),
        })
    }
}

fn guarding(guard: impl Guard + 'static) -> Guarding {
    Guarding { guard: Arc::new(guard), native: None, on_failure: OnFailure::Block, request: request_info() }
}

/// What passes of a text that comes in these parts.
fn in_parts<'a>(with: &Guarding, passage: Passage, parts: impl Iterator<Item = &'a [u8]>) -> (Passing, Judged) {
    let mut open = with.open(passage);
    let mut all = Passing::default();
    for part in parts {
        let Passing { text, stopped } = open.push(part);
        assert!(all.stopped.is_none() || (text.is_empty() && stopped == all.stopped));
        all.text += &text;
        all.stopped = stopped;
    }
    let (Passing { text, stopped }, judged) = open.finish();
    (Passing { text: all.text + &text, stopped: all.stopped.or(stopped) }, judged)
}

fn parts_of(text: &str) -> impl Strategy<Value = (String, Vec<usize>)> + use<> {
    let text = text.to_owned();
    prop::collection::vec(0..=text.len(), 0..8).prop_map(move |mut places| {
        places.sort_unstable();
        (text.clone(), places)
    })
}

fn cut<'a>(text: &'a str, places: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let ends = places.iter().copied().chain([text.len()]);
    [0].into_iter().chain(places.iter().copied()).zip(ends).map(|(start, end)| &text.as_bytes()[start..end])
}

/// Texts of up to some 20,000 bytes, and places in them, within characters too.
fn text_in_parts() -> impl Strategy<Value = (String, Vec<usize>)> {
    let long = ("[aäx€🦀 ]{0,40}", 0..150_usize).prop_map(|(text, times)| text.repeat(times));
    let text = (long, "[aäx€🦀]{0,60}", prop_oneof![3 => Just(""), 1 => Just("!")], "[äx]{0,30}");
    text.prop_flat_map(|(long, short, stop, rest)| parts_of(&[&*long, &*short, stop, &*rest].concat()))
}

proptest! {
    #[test]
    fn what_passes_does_not_depend_on_how_it_comes(
        (text, places) in text_in_parts(),
        hold_back in prop_oneof![Just(0), Just(1), Just(7), Just(MOST_HELD)],
    ) {
        let whole = guarding(Marks::holding(hold_back)).whole(PASSAGE, &text);
        let marks = Arc::new(Marks::holding(hold_back));
        let with = Guarding { guard: Arc::clone(&marks) as _, ..guarding(Marks::holding(0)) };
        prop_assert_eq!(&in_parts(&with, PASSAGE, cut(&text, &places)), &whole);

        let passes = text.split('!').next().unwrap();
        let mut count = 0;
        let expected: String = passes.chars().map(|one| match one {
            'x' => { count += 1; format!("<{}>", count % 10) }
            other => other.to_string(),
        }).collect();
        prop_assert_eq!(&whole.0.text, &expected);
        prop_assert_eq!(whole.0.stopped, text.contains('!').then_some(Stop::Blocked(2)));
        prop_assert_eq!(whole.1.findings.iter().find(|(code, _)| *code == 1).map_or(0, |(_, sum)| *sum), count);

        let calls = marks.calls.lock().unwrap();
        prop_assert!(calls.iter().all(|(bytes, last)| *bytes <= MOST_SHOWN && (*last || *bytes > 0)));
        let lasts = calls.iter().filter(|(_, last)| *last).count();
        let ends_well = if text.contains('!') { lasts <= 1 } else { lasts == 1 && calls.last().unwrap().1 };
        prop_assert!(ends_well);
    }

    #[test]
    fn the_native_guard_passes_the_same(
        parts in prop::collection::vec(prop_oneof![
            Just("a@example.com "), Just("+442079460958, "), Just("wörter 🦀 "), Just("4111 1111 1111 1111; "),
        ], 0..600),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let text = parts.concat();
        let mut places: Vec<usize> = places.iter().map(|place| place.index(text.len() + 1)).collect();
        places.sort_unstable();
        let with = guarding(Pii::default());
        let whole = with.whole(PASSAGE, &text);
        prop_assert_eq!(&whole.0.text, &Pii::redacted(&text, false));
        prop_assert_eq!(in_parts(&with, PASSAGE, cut(&text, &places)), whole);
    }
}

#[test]
fn an_empty_passage_has_one_call_and_one_that_breaks_off_no_last() {
    let marks = Arc::new(Marks::holding(3));
    let with = Guarding { guard: Arc::clone(&marks) as _, ..guarding(Marks::holding(0)) };
    assert_eq!(with.whole(PASSAGE, "").0, Passing::default());
    let mut open = with.open(PASSAGE);
    assert_eq!(open.push(b""), Passing::default());
    assert_eq!(open.push("ax€".as_bytes()).text, "a<1>");
    assert_eq!(open.push(b"x").text, "€");
    assert_eq!(open.break_off().findings, [(1, 1)]);
    assert_eq!(*marks.calls.lock().unwrap(), [(0, true), (5, false), (4, false)]);
}

#[test]
fn a_blocked_request_passes_nothing_and_a_blocked_answer_what_comes_before() {
    let with = guarding(Marks::holding(0));
    let text = format!("{}x!rest", "a".repeat(20_000));
    for (direction, passes) in [(Direction::Input, String::new()), (Direction::Output, text.replace("x!rest", "<1>"))] {
        let passage = Passage { direction, ..PASSAGE };
        let (passing, judged) = with.whole(passage, &text);
        assert_eq!((passing.text, passing.stopped), (passes, Some(Stop::Blocked(2))));
        assert_eq!((judged.findings, judged.replaced, judged.failure), (vec![(1, 1), (2, 1)], true, None));
    }
}

/// Answers what it is told to, in this order.
struct Scripted(Identity, Mutex<VecDeque<Result<Verdict, PolicyError>>>);

impl Guard for Scripted {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn hold_back(&self) -> usize {
        1
    }

    fn inspect(&self, _: InspectInput<'_>) -> Result<Verdict, PolicyError> {
        self.1.lock().unwrap().pop_front().unwrap()
    }
}

fn scripted(answers: impl IntoIterator<Item = Result<Verdict, PolicyError>>) -> Guarding {
    guarding(Scripted(identity(), Mutex::new(answers.into_iter().collect())))
}

/// The first byte passes, the second is held.
fn first_of_two() -> Result<Verdict, PolicyError> {
    Ok(Verdict { decided: 1, ..Verdict::default() })
}

type Fails = fn() -> Result<Verdict, PolicyError>;

#[test]
fn what_fails_blocks_or_passes_unseen_as_the_operator_says() {
    let trap = || PolicyError::Fault(Fault::new(FaultKind::Trap, "unreachable"));
    let invalid = || Ok(Verdict { decided: 9, ..Verdict::default() });
    let cases: [(Fails, Undecided); 6] = [
        (|| Err(PolicyError::Unavailable("not now".to_owned())), Undecided::Unavailable),
        (|| Err(PolicyError::NotRun("no place".to_owned())), Undecided::NotRun),
        (|| Err(PolicyError::Declined), Undecided::Fault(FaultKind::Error)),
        (|| Err(PolicyError::Refused(3)), Undecided::Fault(FaultKind::InvalidAnswer)),
        (|| Ok(Verdict::block(3)), Undecided::Fault(FaultKind::InvalidAnswer)),
        (|| Ok(Verdict::default()), Undecided::Fault(FaultKind::InvalidAnswer)),
    ];
    for (fails, why) in cases {
        let blocking = scripted([first_of_two(), fails()]);
        let mut open = blocking.open(PASSAGE);
        assert_eq!(open.push(b"ab"), Passing { text: "a".to_owned(), stopped: None });
        let stopped = Passing { text: String::new(), stopped: Some(Stop::Failed(why)) };
        assert_eq!(open.push(b"cd"), stopped);
        // No further call is made: the script has no more answers.
        assert_eq!(open.push(b"ef"), stopped);
        let (passing, judged) = open.finish();
        assert_eq!((passing, judged.unseen), (stopped, false));
        assert_eq!(judged.failure.as_ref().map(Undecided::of), Some(why));

        let passing = Guarding { on_failure: OnFailure::Pass, ..scripted([first_of_two(), fails()]) };
        let (text, judged) = in_parts(&passing, PASSAGE, [&b"ab"[..], b"cd", b"\xc3", b"\xbc"].into_iter());
        assert_eq!(text, Passing { text: "abcdü".to_owned(), stopped: None });
        assert_eq!((judged.unseen, judged.failure.as_ref().map(Undecided::of)), (true, Some(why)));
    }
    for fails in [Err(trap()), invalid()] {
        let passage = Passage { direction: Direction::Input, ..PASSAGE };
        let (passing, judged) = scripted([fails]).whole(passage, "abc");
        assert!(matches!(passing.stopped, Some(Stop::Failed(Undecided::Fault(_)))) && passing.text.is_empty());
        assert!(judged.failure.is_some());
    }
}

#[test]
fn who_declines_a_passage_leaves_it_to_the_native_guard() {
    let with = Guarding { native: Some(Arc::new(Pii::default())), ..scripted([Err(PolicyError::Declined)]) };
    let parts = [&b"to a@exam"[..], b"ple.com"];
    let (passing, judged) = in_parts(&with, PASSAGE, parts.into_iter());
    assert_eq!(passing.text, "to [EMAIL]");
    assert!(judged.by.starts_with("native-pii@") && judged.declined && judged.findings == [(1, 1)]);

    let (passing, judged) = in_parts(&scripted([Err(PolicyError::Declined)]), PASSAGE, parts.into_iter());
    assert_eq!(passing, Passing { text: "to a@example.com".to_owned(), stopped: None });
    assert!(judged.declined && !judged.unseen && judged.failure.is_none());
}

#[test]
fn who_refuses_blocks() {
    let with = scripted([first_of_two(), Err(PolicyError::Refused(2))]);
    let (passing, judged) = in_parts(&with, PASSAGE, [&b"ab"[..], b"c"].into_iter());
    assert_eq!(passing, Passing { text: "a".to_owned(), stopped: Some(Stop::Blocked(2)) });
    assert_eq!(judged.failure, None);
}

#[test]
fn what_is_not_text_stops() {
    for parts in [&[&b"a\xff"[..]][..], &[b"a\xc3", b"a"], &[b"a\xc3"]] {
        let (passing, _) = in_parts(&guarding(Marks::holding(0)), PASSAGE, parts.iter().copied());
        assert_eq!(passing.stopped, Some(Stop::NotText));
    }
}

#[test]
fn sums_are_of_64_bits() {
    let many = || Ok(Verdict { findings: vec![(1, u32::MAX)], ..Verdict::pass("a") });
    let (_, judged) =
        in_parts(&scripted([many(), many(), Ok(Verdict::default())]), PASSAGE, [&b"a"[..], b"a"].into_iter());
    assert_eq!(judged.findings, [(1, 2 * u64::from(u32::MAX))]);
}
