//! Lines of the ledger as a file: CSV, JSON or Parquet, one row a line, as it stands by now.

mod columns;
mod parquet;

use std::io::{self, Write};

use serde_json::{Value, json};

use self::columns::{COLUMNS, Cell, cells};
use super::signed_dollars;
use kairos_store::ledger::Line;

/// What a file looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated, with a head; no cell is a formula
    Csv,
    /// One array of objects
    Json,
    /// Apache Parquet, amounts as DECIMAL(38,12)
    Parquet,
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The disk, or whatever reads what is written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Parquet's own.
    #[error("{0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

/// Columns, their types and what they say, for people.
pub(crate) fn columns() -> String {
    let rows = COLUMNS.iter().map(|(name, kind, what)| format!("{name:<27} {:<9} {what}", kind.name()));
    rows.collect::<Vec<_>>().join("\n")
}

/// The same, for programs.
pub(crate) fn columns_json() -> String {
    let rows = COLUMNS.iter().map(|(name, kind, what)| json!({"name": name, "type": kind.name(), "says": what}));
    Value::Array(rows.collect()).to_string()
}

/// Writes lines one by one.
pub(crate) struct Export<W: Write + Send> {
    form: Form<W>,
}

enum Form<W: Write + Send> {
    Csv(Box<csv::Writer<W>>),
    Json(W, bool),
    Parquet(Box<parquet::Writer<W>>),
}

impl<W: Write + Send> Export<W> {
    /// Begins a file.
    pub(crate) fn begin(format: Format, mut to: W) -> Result<Self, ExportError> {
        let form = match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(to);
                writer.write_record(COLUMNS.iter().map(|(name, ..)| name)).map_err(of_csv)?;
                Form::Csv(Box::new(writer))
            }
            Format::Json => {
                to.write_all(b"[")?;
                Form::Json(to, true)
            }
            Format::Parquet => Form::Parquet(Box::new(parquet::Writer::begin(to)?)),
        };
        Ok(Self { form })
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, line: &Line) -> Result<(), ExportError> {
        let cells = cells(line);
        match &mut self.form {
            Form::Csv(writer) => writer.write_record(cells.iter().map(csv_text)).map_err(of_csv)?,
            Form::Json(to, is_first) => {
                let row = COLUMNS.iter().map(|(name, ..)| (*name).to_owned()).zip(cells.iter().map(json_value));
                to.write_all(if *is_first { b"\n" } else { b",\n" })?;
                *is_first = false;
                serde_json::to_writer(to, &Value::Object(row.collect())).map_err(io::Error::from)?;
            }
            Form::Parquet(writer) => writer.add(cells)?,
        }
        Ok(())
    }

    /// Ends the file.
    pub(crate) fn end(self) -> Result<(), ExportError> {
        match self.form {
            Form::Csv(mut writer) => writer.flush()?,
            Form::Json(mut to, _) => {
                to.write_all(b"\n]\n")?;
                to.flush()?;
            }
            Form::Parquet(writer) => writer.end()?,
        }
        Ok(())
    }
}

fn of_csv(error: csv::Error) -> io::Error {
    error.into()
}

/// A time as ISO 8601 has it, to the millisecond.
fn time_text(at_ms: i64) -> String {
    super::utc(at_ms, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// A cell of CSV. A text that a spreadsheet would take for a formula is made one that it does not.
fn csv_text(cell: &Cell) -> String {
    match cell {
        Cell::Text(Some(text)) if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) => format!("'{text}"),
        Cell::Text(text) => text.clone().unwrap_or_default(),
        Cell::Count(number) => number.map_or(String::new(), |number| number.to_string()),
        Cell::Usd(amount) => amount.map_or(String::new(), |amount| signed_dollars(amount.into())),
        Cell::Time(at) => at.map_or(String::new(), time_text),
        Cell::Flag(flag) => flag.map_or(String::new(), |flag| flag.to_string()),
    }
}

fn json_value(cell: &Cell) -> Value {
    match cell {
        Cell::Text(text) => text.clone().into(),
        Cell::Count(number) => (*number).into(),
        Cell::Usd(amount) => amount.map(|amount| signed_dollars(amount.into())).into(),
        Cell::Time(at) => at.map(time_text).into(),
        Cell::Flag(flag) => (*flag).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_of_csv_is_a_formula() {
        for (text, cell) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("plain, \"quoted\"\nand cut", "plain, \"quoted\"\nand cut"),
            ("", ""),
        ] {
            assert_eq!(csv_text(&Cell::Text(Some(text.to_owned()))), cell);
        }
        // A number is one, below nothing too.
        assert_eq!(csv_text(&Cell::Usd(Some(-1_500_000_000_001))), "-1.500000000001");
        assert_eq!(csv_text(&Cell::Usd(None)), "");
    }
}
