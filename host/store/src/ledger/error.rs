//! Why the ledger cannot be used, in words that say what to do.

use rusqlite::{ErrorCode, ffi};

use super::schema::SCHEMA;

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite failed.
    #[error("{0}{hint}", hint = hint(.0))]
    Sqlite(rusqlite::Error),
    /// The file was written by a later version.
    #[error(
        "the ledger has schema {found}, this version knows {SCHEMA}: use the version that wrote it, or a later one"
    )]
    Schema {
        /// The file's schema.
        found: i64,
    },
    /// What is in the file contradicts itself.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// Its file is no longer where it was opened.
    #[error(
        "{0} was removed or replaced while the gateway runs; put it back as it was: a start without it begins an empty \
         ledger, and budgets that are full again"
    )]
    Gone(String),
    /// Another process has the folder.
    #[error("{0}")]
    InUse(String),
    /// A file cannot be made or opened.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
}

impl From<rusqlite::Error> for LedgerError {
    /// What is not as it was written is damage; anything else is between SQLite and the system.
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error;
        match error {
            Error::QueryReturnedNoRows => Self::Damaged("its table `meta` is empty".to_owned()),
            Error::FromSqlConversionFailure(..) | Error::IntegralValueOutOfRange(..) | Error::InvalidColumnType(..) => {
                Self::Damaged(error.to_string())
            }
            // Of statements that are sound: a table or a column is not there.
            Error::SqlInputError { ref msg, .. } => Self::Damaged(msg.clone()),
            Error::SqliteFailure(ref failure, _)
                if matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                    || failure.extended_code == ffi::SQLITE_ERROR =>
            {
                Self::Damaged(error.to_string())
            }
            _ => Self::Sqlite(error),
        }
    }
}

/// What to do about a failure of SQLite.
fn hint(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => "; another program holds the database: end it",
        Some(ErrorCode::DiskFull) => "; make room on the disk",
        Some(ErrorCode::ReadOnly) => "; the file and its folder must be writable",
        Some(ErrorCode::CannotOpen) => "; the file must be readable, and its folder writable",
        _ => "",
    }
}
