//! Which operation a path names, and for which model.
//!
//! Paths are taken as they were sent: an id may hold `%3A`, `%2F`, or a slash of its own.

use crate::faults::Sort;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Converse,
    ConverseStream,
    Invoke,
    InvokeStream,
    CountTokens,
}

impl Operation {
    /// The operation and the model's id, still encoded.
    pub(super) fn find(path: &str) -> Option<(Self, &str)> {
        let (id, name) = path.strip_prefix("/model/")?.rsplit_once('/')?;
        let operation = match name {
            "converse" => Self::Converse,
            "converse-stream" => Self::ConverseStream,
            "invoke" => Self::Invoke,
            "invoke-with-response-stream" => Self::InvokeStream,
            "count-tokens" => Self::CountTokens,
            _ => return None,
        };
        (!id.is_empty()).then_some((operation, id))
    }

    /// What can befall it.
    pub(super) fn sort(self) -> Sort {
        match self {
            Self::Converse | Self::Invoke | Self::CountTokens => Sort::Buffered,
            Self::ConverseStream => Sort::ConverseStream,
            Self::InvokeStream => Sort::NativeStream,
        }
    }

    pub(super) fn is_streamed(self) -> bool {
        self.sort() != Sort::Buffered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_operations() {
        for (path, expected) in [
            ("/model/a.b-v1:0/converse", Some((Operation::Converse, "a.b-v1:0"))),
            ("/model/a.b-v1%3A0/converse-stream", Some((Operation::ConverseStream, "a.b-v1%3A0"))),
            ("/model/arn:aws:x/y/invoke", Some((Operation::Invoke, "arn:aws:x/y"))),
            ("/model/x/invoke-with-response-stream", Some((Operation::InvokeStream, "x"))),
            ("/model/x/count-tokens", Some((Operation::CountTokens, "x"))),
            ("/model//converse", None),
            ("/model/converse", None),
            ("/model/x/converse/", None),
            ("/models/x/converse", None),
            ("/model/x/Converse", None),
        ] {
            assert_eq!(Operation::find(path), expected, "{path}");
        }
    }
}
