//! `kairos audit`.

use kairos_store::policies::{Entry, FILE, PoliciesError, Reader};
use serde_json::json;

use super::gateway::{Place, print_json};
use super::{Failed, short};
use crate::admin::{act_json, moment};

/// Say who did what with policies, when and why
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kairos audit
  kairos audit --last 5 --json --data ./kairos-data
  kairos audit --verify                    whether every row is there as it was written

Reads the file in the data folder: the gateway may be running or not.
Exit codes: 0 done, 1 failed, or a row is missing or was changed, 2 wrong usage")]
pub(super) struct Audit {
    #[command(flatten)]
    place: Place,
    /// Whether every row is there as it was written
    #[arg(long)]
    verify: bool,
    /// How many of the last acts
    #[arg(long, value_name = "N", default_value = "100")]
    last: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl From<PoliciesError> for Failed {
    fn from(error: PoliciesError) -> Self {
        Self::new(error.to_string())
    }
}

impl Audit {
    pub(super) fn run(self) -> Result<(), Failed> {
        let mut reader = Reader::open(&self.place.config()?.data.join(FILE))?;
        if self.verify {
            return self.verified(reader.verify());
        }
        let acts = reader.last(self.last)?;
        if self.json {
            return print_json(&acts.iter().map(|(seq, entry)| act_json(*seq, entry)).collect());
        }
        // As in any log, the newest stands last.
        acts.iter().rev().for_each(|(seq, entry)| println!("{}", text(*seq, entry)));
        Ok(())
    }

    fn verified(&self, verified: Result<u64, PoliciesError>) -> Result<(), Failed> {
        match verified {
            Ok(rows) if self.json => print_json(&json!({"whole": true, "rows": rows})),
            Ok(rows) => {
                println!("whole: {rows} rows");
                Ok(())
            }
            Err(error @ PoliciesError::Damaged(_)) if self.json => {
                print_json(&json!({"whole": false, "message": error.to_string()}))?;
                Err(Failed::new(""))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn text(seq: i64, entry: &Entry) -> String {
    let who = entry.claimed.as_ref().map_or(entry.actor.clone(), |claimed| format!("{} ({claimed})", entry.actor));
    let digest = entry.digest.as_deref().map_or(String::new(), |digest| format!(" {}", short(digest)));
    let why = entry.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let detail =
        entry.detail.as_ref().map_or(String::new(), |detail| format!("\n    {}", detail.replace('\n', "\n    ")));
    let (at, act, slot) = (moment(entry.at_ms.unsigned_abs()), &entry.act, &entry.slot);
    format!("{seq}  {at}  {who}  {act} {slot}{digest}{why}{detail}")
}
