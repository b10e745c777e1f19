//! Which columns an exported line has, and what each says.

use kairos_dialects::Usage;
use kairos_store::ledger::Line;

use super::super::sums::state;

/// What is in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Count,
    /// US dollars, exact, with up to 12 places.
    Usd,
    /// A time, UTC.
    Time,
    /// Yes or no.
    Flag,
}

impl Kind {
    /// Its name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Count => "integer",
            Self::Usd => "decimal",
            Self::Time => "timestamp",
            Self::Flag => "boolean",
        }
    }
}

/// What is in a cell; nothing where the row does not say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// Text.
    Text(Option<String>),
    /// A whole number.
    Count(Option<i64>),
    /// Picodollars.
    Usd(Option<i64>),
    /// Milliseconds since 1970.
    Time(Option<i64>),
    /// Yes or no.
    Flag(Option<bool>),
}

/// Name, type and meaning of each column, in their order. New ones come at the end.
pub(super) const COLUMNS: &[(&str, Kind, &str)] = &[
    ("row", Kind::Count, "place of the attempt's first row in the journal"),
    ("request", Kind::Text, "id of the request; empty for `unidentified` and `corrected`"),
    ("attempt", Kind::Count, "which attempt of it, from 1"),
    ("state", Kind::Text, "open, settled, estimated, voided; unidentified: left by a crash; corrected: a bill said so"),
    ("at", Kind::Time, "when it was reserved, which is when it counts"),
    ("ended_at", Kind::Time, "when it ended"),
    ("key", Kind::Text, "the caller's key"),
    ("team", Kind::Text, "the key's team"),
    ("model", Kind::Text, "the model that was called"),
    ("target", Kind::Text, "the id it was called by: its own, or that of an inference profile"),
    ("region", Kind::Text, "from which region"),
    ("tier", Kind::Text, "service tier that was asked for"),
    ("policy", Kind::Text, "who decided, name@digest"),
    ("prices", Kind::Text, "version of the prices that were used"),
    ("reserved_usd", Kind::Usd, "worst case that was reserved"),
    ("low_usd", Kind::Usd, "the least that it cost; of `corrected` what estimates were charged at before"),
    ("high_usd", Kind::Usd, "the most; of `corrected` what they are charged at now"),
    ("charged_usd", Kind::Usd, "what is charged; the column's sum is what was spent"),
    ("estimated_usd", Kind::Usd, "the part of it that is estimated"),
    ("input_tokens", Kind::Count, "input that no cache served"),
    ("output_tokens", Kind::Count, "output"),
    ("cache_read_tokens", Kind::Count, "input read from the prompt cache"),
    ("cache_write_5m_tokens", Kind::Count, "input written to it for five minutes"),
    ("cache_write_1h_tokens", Kind::Count, "for an hour"),
    ("cache_write_unknown_tokens", Kind::Count, "for a time that the answer does not say"),
    ("guardrail_units", Kind::Text, "units that guardrails assessed, as JSON; empty for none"),
    ("unpriced", Kind::Flag, "whether the model had no price"),
    ("why", Kind::Text, "why it is estimated, voided or corrected"),
    ("tags", Kind::Text, "the caller's tags, as JSON"),
    ("units", Kind::Text, "what is priced by the piece or the second, as JSON; empty for none"),
];

/// The cells of a line, in the order of [`COLUMNS`].
pub(super) fn cells(line: &Line) -> Vec<Cell> {
    let row = &line.row;
    let tuple = row.tuple.as_ref();
    let text = |text: Option<&str>| Cell::Text(text.map(str::to_owned));
    let (low, high) = line.bounds();
    let usage = line.usage().and_then(|usage| serde_json::from_str::<Usage>(usage).ok());
    let tokens =
        |of: fn(&Usage) -> u64| Cell::Count(usage.as_ref().map(|usage| i64::try_from(of(usage)).unwrap_or(i64::MAX)));
    let guardrail = usage.as_ref().filter(|usage| !usage.guardrail.is_nothing());
    let units = usage.as_ref().filter(|usage| !usage.units.is_nothing());
    vec![
        Cell::Count(Some(line.seq)),
        Cell::Text(row.key.map(|key| key.request.to_string())),
        Cell::Count(row.key.map(|key| i64::from(key.attempt))),
        text(Some(state(line))),
        Cell::Time(Some(line.at_ms())),
        Cell::Time(line.end.as_ref().map(|end| end.at_ms)),
        text(tuple.map(|tuple| &*tuple.caller)),
        text(row.team.as_deref()),
        text(tuple.map(|tuple| &*tuple.model)),
        text(row.target.as_deref()),
        text(row.region.as_deref()),
        text(row.tier.as_deref()),
        text(row.policy.as_deref()),
        text(row.prices.as_deref()),
        Cell::Usd(Some(line.reserved())),
        Cell::Usd(Some(low)),
        Cell::Usd(Some(high)),
        Cell::Usd(Some(line.charged())),
        Cell::Usd(Some(line.estimated())),
        tokens(|usage| usage.input),
        tokens(|usage| usage.output),
        tokens(|usage| usage.cache_read),
        tokens(|usage| usage.cache_write_5m),
        tokens(|usage| usage.cache_write_1h),
        tokens(|usage| usage.cache_write_unknown),
        Cell::Text(guardrail.and_then(|usage| serde_json::to_string(&usage.guardrail).ok())),
        Cell::Flag(row.unpriced),
        text(line.why()),
        text(row.tags.as_deref()),
        Cell::Text(units.and_then(|usage| serde_json::to_string(&usage.units).ok())),
    ]
}
