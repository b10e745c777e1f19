//! Lines as Parquet. Amounts are DECIMAL(38,12): picodollars are exact.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use super::columns::{COLUMNS, Cell, Kind};

/// Rows that are gathered for one group: what the file takes in memory.
const GROUP: usize = 10_000;

/// Writes a file group by group.
pub(super) struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Vec<Vec<Cell>>,
}

fn schema() -> String {
    let columns = COLUMNS.iter().map(|(name, kind, _)| match kind {
        Kind::Text => format!("optional binary {name} (STRING);"),
        Kind::Count => format!("optional int64 {name};"),
        Kind::Usd => format!("optional fixed_len_byte_array(16) {name} (DECIMAL(38,12));"),
        Kind::Time => format!("optional int64 {name} (TIMESTAMP(MILLIS,true));"),
        Kind::Flag => format!("optional boolean {name};"),
    });
    format!("message ledger {{ {} }}", columns.collect::<Vec<_>>().join(" "))
}

impl<W: Write + Send> Writer<W> {
    pub(super) fn begin(to: W) -> Result<Self, ParquetError> {
        let schema = Arc::new(parse_message_type(&schema())?);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        Ok(Self { file: SerializedFileWriter::new(to, schema, Arc::new(properties))?, rows: Vec::new() })
    }

    pub(super) fn add(&mut self, row: Vec<Cell>) -> Result<(), ParquetError> {
        self.rows.push(row);
        if self.rows.len() < GROUP { Ok(()) } else { self.write_group() }
    }

    pub(super) fn end(mut self) -> Result<(), ParquetError> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        self.file.close().map(|_| ())
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for (at, (_, kind, _)) in COLUMNS.iter().enumerate() {
            let Some(mut column) = group.next_column()? else { break };
            write_column(&mut column, *kind, self.rows.iter().filter_map(|row| row.get(at)))?;
            column.close()?;
        }
        group.close()?;
        self.rows.clear();
        Ok(())
    }
}

/// Writes the cells of one column; each is there or not.
fn write_column<'a>(
    column: &mut SerializedColumnWriter<'_>,
    kind: Kind,
    cells: impl Iterator<Item = &'a Cell>,
) -> Result<(), ParquetError> {
    let (mut texts, mut numbers, mut amounts, mut flags) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let is_there: Vec<i16> = cells
        .map(|cell| {
            let is_there = match cell {
                Cell::Text(text) => text.as_ref().map(|text| texts.push(ByteArray::from(text.as_str()))),
                Cell::Count(number) | Cell::Time(number) => number.map(|number| numbers.push(number)),
                Cell::Usd(amount) => amount.map(|amount| {
                    let bytes = i128::from(amount).to_be_bytes().to_vec();
                    amounts.push(FixedLenByteArray::from(ByteArray::from(bytes)));
                }),
                Cell::Flag(flag) => flag.map(|flag| flags.push(flag)),
            };
            i16::from(is_there.is_some())
        })
        .collect();
    let there = Some(&is_there[..]);
    match kind {
        Kind::Text => column.typed::<ByteArrayType>().write_batch(&texts, there, None)?,
        Kind::Count | Kind::Time => column.typed::<Int64Type>().write_batch(&numbers, there, None)?,
        Kind::Usd => column.typed::<FixedLenByteArrayType>().write_batch(&amounts, there, None)?,
        Kind::Flag => column.typed::<BoolType>().write_batch(&flags, there, None)?,
    };
    Ok(())
}
