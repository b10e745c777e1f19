//! How many questions go to Bedrock's control plane in a minute, and whose they are: the quota there is the
//! account's, and whoever has a key can make up ARNs.

use std::collections::VecDeque;
use std::sync::Arc;

const MINUTE_MS: u64 = 60_000;
/// The part of the minute's questions that callers leave to the gateway's own.
const OWN_PART: usize = 8;

/// Who has a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker<'a> {
    /// A request with this key.
    Key(&'a str),
    /// The gateway: for what the configuration names, and to see whether what is known is still so.
    Gateway,
}

/// Why no question may be asked now, and after which time one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Nobody's.
    All(u64),
    /// None of this key's.
    Share(u64),
}

/// Those of the last minute: when each was asked, and by which key.
#[derive(Default)]
pub(super) struct Questions(VecDeque<(u64, Option<Arc<str>>)>);

impl Questions {
    /// Takes one of the minute's `most`. A few are for the gateway alone, and of the others a key has half of what
    /// other keys leave, so that there is one left for a key that comes later.
    pub(super) fn take(&mut self, asker: Asker<'_>, most: usize, now_ms: u64) -> Result<(), Full> {
        // A clock that goes back makes nobody wait for longer than a minute.
        self.0.retain(|(at, _)| (now_ms.saturating_sub(MINUTE_MS)..=now_ms).contains(at));
        let Asker::Key(key) = asker else {
            return self.ask(most, None, now_ms);
        };
        let own = if most > 1 { (most / OWN_PART).max(1) } else { 0 };
        let of_callers = self.0.iter().filter_map(|(at, of)| Some((*at, of.as_deref()?)));
        let of_callers: Vec<_> = of_callers.collect();
        let mine: Vec<_> = of_callers.iter().filter(|(_, of)| *of == key).collect();
        let left = (most - own).saturating_sub(of_callers.len() - mine.len());
        let wait = |first: Option<u64>| first.map_or(0, |at| (at + MINUTE_MS + 1).saturating_sub(now_ms));
        match (of_callers.first(), mine.first()) {
            (Some((first, _)), _) if of_callers.len() >= most - own => Err(Full::All(wait(Some(*first)))),
            (_, Some((first, _))) if mine.len() >= left.div_ceil(2) => Err(Full::Share(wait(Some(*first)))),
            _ => self.ask(most, Some(key), now_ms),
        }
    }

    fn ask(&mut self, most: usize, key: Option<&str>, now_ms: u64) -> Result<(), Full> {
        if let Some((first, _)) = self.0.front().filter(|_| self.0.len() >= most) {
            return Err(Full::All((first + MINUTE_MS + 1).saturating_sub(now_ms)));
        }
        self.0.push_back((now_ms, key.map(Arc::from)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_takes_the_questions_of_the_others_and_none_takes_the_gateways() {
        let mut questions = Questions::default();
        let mut taken =
            |key: &str, at: u64| (0..100).take_while(|_| questions.take(Asker::Key(key), 32, at).is_ok()).count();
        // 28 are for callers.
        assert_eq!([taken("a", 5), taken("a", 6), taken("b", 7), taken("c", 8), taken("d", 9)], [14, 0, 7, 4, 2]);
        assert_eq!(questions.take(Asker::Key("a"), 32, 10), Err(Full::Share(59_996)));
        assert_eq!(questions.take(Asker::Key("e"), 32, 10), Ok(()));
        assert_eq!(questions.take(Asker::Key("f"), 32, 10), Err(Full::All(59_996)));
        let own = (0..100).take_while(|_| questions.take(Asker::Gateway, 32, 11).is_ok()).count();
        assert_eq!(own, 4);
        assert_eq!(questions.take(Asker::Gateway, 32, 12), Err(Full::All(59_994)));
        // A minute later there are as many again.
        assert_eq!(questions.take(Asker::Key("a"), 32, 60_006), Ok(()));
    }

    #[test]
    fn one_question_a_minute_is_whoevers_comes_first() {
        let mut questions = Questions::default();
        assert_eq!(questions.take(Asker::Key("a"), 1, 0), Ok(()));
        assert_eq!(questions.take(Asker::Gateway, 1, 1), Err(Full::All(60_000)));
    }
}
