//! AWS's bill beside the ledger: what is on it, which lines of both belong together, what every difference
//! is, and which estimates it settles.
//!
//! `cur` reads exports of CUR 2.0, `table` their rows, `explorer` Cost Explorer; `usage_type` says what a
//! line is of, `whose` which model. `compare` does not know where a bill came from, and `settle` only what
//! was compared. Nothing is guessed: a line that is not understood is a difference of its own.

pub(crate) mod amount;
pub(crate) mod compare;
pub(crate) mod cur;
pub(crate) mod explorer;
pub(crate) mod live;
pub(crate) mod settle;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod usage_type;
pub(crate) mod whose;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sha2::{Digest as _, Sha256};

/// Sums of a bill that are kept at most: by day, usage type and product.
const MOST: usize = 200_000;
/// Lines that are remembered, so that none is counted twice: 16 bytes each.
const MOST_LINES: usize = 4_000_000;
/// Accounts that are remembered.
const MOST_ACCOUNTS: usize = 8;
/// AWS writes costs with ten places: so much may be missing of a line, in picodollars.
pub(crate) const ROUNDING: i128 = 50;

/// Why a bill cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BillError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Form(String),
    /// What stands in a row is not what its column holds.
    #[error("row {row}: {column} is {value:?}, which is not {wanted}")]
    Value {
        /// Which, from 1, the head not counted.
        row: u64,
        /// In which column.
        column: &'static str,
        /// What stands there.
        value: String,
        /// What should.
        wanted: &'static str,
    },
    /// A bill in another currency.
    #[error("row {row}: amounts are in {currency}, and the ledger's in USD")]
    Currency {
        /// Which row.
        row: u64,
        /// In what.
        currency: String,
    },
    /// Files of two deliveries.
    #[error("row {row}: this very line ({id}) was read before: files of several deliveries overlap, give those of one")]
    Twice {
        /// Which row.
        row: u64,
        /// Its `identity_line_item_id`.
        id: String,
    },
    /// More lines than are remembered.
    #[error("more than {MOST_LINES} lines of Bedrock: give the bill of less time")]
    ManyLines,
    /// More than is kept.
    #[error("more than {MOST} sums by day, usage type and product: give the bill of less time")]
    Many,
}

/// What a sum is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LineKey {
    /// The UTC day, in days since 1970.
    pub(crate) day: i32,
    /// As AWS words it.
    pub(crate) usage_type: String,
    /// The product's name, where the bill says it: `Claude Sonnet 4.6 (Amazon Bedrock Edition)`.
    pub(crate) product: String,
    /// The resource, where the bill says it: a model's or an inference profile's ARN.
    pub(crate) resource: String,
}

/// What lines with the same key come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineSum {
    /// In picodollars.
    pub(crate) cost: i128,
    /// In tokens or units; none where it is not said in what.
    pub(crate) quantity: Option<i128>,
    /// Lines of the bill.
    pub(crate) lines: u64,
}

/// A bill, as far as it is of Bedrock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bill {
    /// Usage, by day and kind.
    pub(crate) usage: BTreeMap<LineKey, LineSum>,
    /// Taxes, credits, discounts and the like, by their type: not compared.
    pub(crate) other: BTreeMap<String, i128>,
    /// Lines of other services.
    pub(crate) skipped: u64,
    /// When the last line of usage ends, in milliseconds since 1970, where the bill says it.
    pub(crate) until_ms: Option<i64>,
    /// Lines of usage that have no invoice yet: AWS may still add to them.
    pub(crate) uninvoiced: u64,
    /// The one account whose lines are taken; none: all of them.
    pub(crate) account: Option<String>,
    /// Accounts whose lines were taken, as far as the bill says; some of them.
    pub(crate) accounts: BTreeSet<String>,
    /// Digests of its lines, where they have ids.
    lines: HashSet<[u8; 16]>,
}

/// One row of a bill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: Option<LineKey>,
    pub(crate) cost: i128,
    pub(crate) quantity: Option<i128>,
    /// The type of a line that is no usage.
    pub(crate) other: Option<String>,
    pub(crate) end_ms: Option<i64>,
    /// Whether it stands on an invoice.
    pub(crate) invoiced: bool,
    /// The account that it was used by; empty where the bill does not say.
    pub(crate) account: String,
    /// The row's number, and its id, where it has one. An id is of one month only: of what else the line says, its
    /// times and its cost make it one of its own.
    pub(crate) id: Option<(u64, String)>,
}

impl Row {
    fn digest(&self, key: &LineKey, id: &str) -> [u8; 16] {
        let said = format!("{id}\n{key:?}\n{:?}\n{}", self.end_ms, self.cost);
        let digest: [u8; 32] = Sha256::digest(said).into();
        std::array::from_fn(|at| digest[at])
    }
}

impl Bill {
    /// One of which only the lines of an account are taken, where one is named.
    pub(crate) fn of(account: Option<String>) -> Self {
        Self { account, ..Self::default() }
    }

    /// Takes a row in.
    fn add(&mut self, row: Row) -> Result<(), BillError> {
        if let Some(kind) = row.other {
            if self.other.len() == 64 && !self.other.contains_key(&kind) {
                return Err(BillError::Form("its lines are of more than 64 types".to_owned()));
            }
            *self.other.entry(kind).or_default() += row.cost;
            return Ok(());
        }
        let Some(key) = row.key.clone() else {
            self.skipped += 1;
            return Ok(());
        };
        if let Some((number, id)) = &row.id {
            if self.lines.len() == MOST_LINES {
                return Err(BillError::ManyLines);
            }
            if !self.lines.insert(row.digest(&key, id)) {
                return Err(BillError::Twice { row: *number, id: id.clone() });
            }
        }
        if let Some(account) = &self.account {
            if row.account.is_empty() {
                return Err(BillError::Form(
                    "it does not say of which account its lines are (line_item_usage_account_id): leave --account out"
                        .to_owned(),
                ));
            }
            if row.account != *account {
                self.skipped += 1;
                return Ok(());
            }
        }
        if !row.account.is_empty() && self.accounts.len() < MOST_ACCOUNTS {
            self.accounts.insert(row.account);
        }
        self.until_ms = self.until_ms.max(row.end_ms);
        self.uninvoiced += u64::from(!row.invoiced);
        if self.usage.len() == MOST && !self.usage.contains_key(&key) {
            return Err(BillError::Many);
        }
        let sum = self.usage.entry(key).or_insert(LineSum { quantity: Some(0), ..LineSum::default() });
        sum.cost = sum.cost.saturating_add(row.cost);
        sum.quantity = sum.quantity.zip(row.quantity).map(|(sum, more)| sum.saturating_add(more));
        sum.lines += 1;
        Ok(())
    }
}
