//! One module a subject.

/// A list of policies that fail, and a test of each: what is to become of them, then the name of the test, the
/// ending of the file, its bytes, and the kind of the fault.
macro_rules! failing {
    ($fails:ident: $($name:ident: $ending:literal, $bytes:expr, $kind:literal;)*) => {
        $(#[tokio::test]
        async fn $name() {
            $fails($ending, $bytes, $kind).await;
        })*
    };
}

mod agreement;
mod batches;
mod budgets;
mod canary;
mod cli;
mod clients;
mod contract;
mod counts;
mod doctor;
mod embeddings;
mod erasure;
mod errors;
mod evolving;
mod families;
mod generate;
mod guarded;
mod guards;
mod healers;
mod healing;
mod hostile;
mod jobs;
mod judged;
mod keys;
mod ledger;
mod lifecycle;
mod limits;
mod mishaps;
mod money;
mod observed;
mod observers;
mod pieces;
mod plugins;
mod policies;
mod prices;
mod profiles;
mod prompters;
mod prompts;
mod rates;
mod records;
mod refusals;
mod registries;
mod replay;
mod reports;
mod routing;
mod scripted;
mod signing;
mod streams;
mod topics;
mod vectors;
