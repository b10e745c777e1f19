//! Exports of CUR 2.0: CSV, as it is or in gzip, and Parquet. What a file is, its first bytes say.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;
use sha2::{Digest as _, Sha256};

use super::{Bill, BillError, explorer, table};

/// The most that one row of CSV may take.
const LONGEST_ROW: u64 = 4 * 1024 * 1024;

/// A file of a bill, and the digest of its bytes.
pub(crate) type Digest = [u8; 32];

/// The digest of a file: the same one twice is no longer bill.
pub(crate) fn digest(path: &Path) -> std::io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            read => hasher.update(&piece[..read]),
        }
    }
    Ok(hasher.finalize().into())
}

/// Reads a file into a bill.
pub(crate) fn read(path: &Path, bill: &mut Bill) -> Result<(), BillError> {
    let mut file = File::open(path)?;
    let mut first = Vec::new();
    (&file).take(4).read_to_end(&mut first)?;
    file.seek(SeekFrom::Start(0))?;
    match first.as_slice() {
        [0x1f, 0x8b, ..] => read_csv(MultiGzDecoder::new(BufReader::new(file)), bill),
        b"PAR1" => read_parquet(file, bill),
        [b'{', ..] => explorer::read(file, bill),
        _ => read_csv(file, bill),
    }
}

/// Ends where one row takes more than it may: a reader of CSV keeps it whole. Sees whether a quoted cell is open:
/// such a reader takes the end of a file for the end of that, too.
struct Bounded<R> {
    inner: R,
    left: Rc<Cell<u64>>,
    is_quoted: Rc<Cell<bool>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(read as u64).ok_or_else(|| {
            std::io::Error::other(format!("a row takes more than {LONGEST_ROW} bytes: it is no export of CUR 2.0"))
        })?;
        self.left.set(left);
        let quotes = buffer[..read].iter().filter(|byte| **byte == b'"').count();
        self.is_quoted.set(self.is_quoted.get() ^ (quotes % 2 == 1));
        Ok(read)
    }
}

fn of_csv(error: csv::Error) -> BillError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => BillError::Io(error),
        csv::ErrorKind::Utf8 { pos, .. } => {
            BillError::Form(format!("line {}: it is not UTF-8", pos.map_or(0, |pos| pos.line())))
        }
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => BillError::Form(format!(
            "line {}: it has {len} columns, and the head has {expected_len}",
            pos.map_or(0, |pos| pos.line())
        )),
        other => BillError::Form(format!("{other:?}")),
    }
}

pub(super) fn read_csv(from: impl Read, bill: &mut Bill) -> Result<(), BillError> {
    let (left, is_quoted) = (Rc::new(Cell::new(LONGEST_ROW)), Rc::<Cell<bool>>::default());
    let bounded = Bounded { inner: from, left: Rc::clone(&left), is_quoted: Rc::clone(&is_quoted) };
    let mut reader = csv::Reader::from_reader(bounded);
    let places = table::places(reader.headers().map_err(of_csv)?.iter())?;
    let mut record = csv::StringRecord::new();
    let mut row = 0;
    loop {
        left.set(LONGEST_ROW);
        if !reader.read_record(&mut record).map_err(of_csv)? {
            return match is_quoted.get() {
                true => {
                    Err(BillError::Form("it ends within a quoted cell: the rest of the file is missing".to_owned()))
                }
                false => Ok(()),
            };
        }
        row += 1;
        bill.add(table::read(row, |column| places[column].and_then(|at| record.get(at)).unwrap_or_default())?)?;
    }
}

/// A decimal of Parquet as text: digits, and how many of them are behind the point.
fn decimal(bytes: &[u8], scale: i32) -> Option<String> {
    if bytes.len() > 16 || !(0..=38).contains(&scale) {
        return None;
    }
    let negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let mut whole = [if negative { 0xff } else { 0 }; 16];
    whole[16 - bytes.len()..].copy_from_slice(bytes);
    Some(format!("{}e-{scale}", i128::from_be_bytes(whole)))
}

/// What is in a cell of Parquet, as CSV would say it.
fn text(field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        // The shortest text that is this number.
        Field::Double(number) => format!("{number}"),
        Field::Float(number) => format!("{number}"),
        Field::TimestampMillis(at) => crate::spend::utc(*at, "%Y-%m-%dT%H:%M:%S%.3fZ"),
        Field::TimestampMicros(at) => crate::spend::utc(at.div_euclid(1_000), "%Y-%m-%dT%H:%M:%S%.3fZ"),
        Field::Decimal(number) => decimal(number.data(), number.scale()).unwrap_or_default(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter().map(|(name, value)| (text(name), text(value).into()));
            serde_json::Value::Object(entries.collect()).to_string()
        }
        other => other.to_string(),
    }
}

fn read_parquet(file: File, bill: &mut Bill) -> Result<(), BillError> {
    // A file that is made to mislead may bring the reader to a panic: it is one that cannot be read.
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read_rows(file, bill)));
    read.unwrap_or_else(|_| Err(BillError::Form("it is no Parquet that can be read".to_owned())))
}

fn read_rows(file: File, bill: &mut Bill) -> Result<(), BillError> {
    let form = |error: parquet::errors::ParquetError| match error.to_string() {
        text if text.contains("Disabled feature") => {
            let how = text.rsplit(' ').next().unwrap_or_default();
            BillError::Form(format!(
                "it is compressed by {how}, which is not read: have it in Snappy, as AWS writes it, or as CSV"
            ))
        }
        text => BillError::Form(text),
    };
    let reader = SerializedFileReader::new(file).map_err(form)?;
    let schema = reader.metadata().file_metadata().schema();
    // Of some hundred columns these few are read.
    let wanted: Vec<_> =
        schema.get_fields().iter().filter(|field| table::COLUMNS.contains(&field.name())).map(Arc::clone).collect();
    let places = table::places(wanted.iter().map(|field| field.name()))?;
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted).build().map_err(form)?;
    for (row, fields) in (1..).zip(reader.get_row_iter(Some(projection)).map_err(form)?) {
        let cells: Vec<_> = fields.map_err(form)?.get_column_iter().map(|(_, field)| text(field)).collect();
        let cell = |column: usize| places[column].and_then(|at: usize| cells.get(at)).map_or("", String::as_str);
        bill.add(table::read(row, cell)?)?;
    }
    Ok(())
}
