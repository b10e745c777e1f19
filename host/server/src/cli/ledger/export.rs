//! `kairos ledger export`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use kairos_store::ledger::{LedgerError, Reader};

use super::super::Failed;
use super::{Where, Which, now_ms};
use crate::spend::Filter;
use crate::spend::export::{self, ExportError, Format};
use crate::spend::filter::Admits;

/// Lines between two words on how far it is.
const STEP: u64 = 10_000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    which: Which,
    /// What the file looks like
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Where to; `-` is standard output. A file is there once it is whole
    #[arg(long, value_name = "FILE", required_unless_present = "columns")]
    out: Option<PathBuf>,
    /// Say which columns there are, and what each says
    #[arg(long)]
    columns: bool,
}

/// Why lines are not written.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    #[error("{0}")]
    Export(#[from] ExportError),
}

impl Export {
    pub(super) fn run(self) -> Result<(), Failed> {
        let Some(out) = self.out.as_deref().filter(|_| !self.columns) else {
            println!("{}", export::columns());
            return Ok(());
        };
        let reader = self.place.open()?;
        let filter = self.which.filter(now_ms())?;
        let failed = |error: &dyn std::fmt::Display| Failed::new(format!("{}: {error}", out.display()));
        if out == Path::new("-") {
            let to = BufWriter::new(std::io::stdout());
            return self.write(&reader, &filter, to).map(|_| ()).map_err(|error| failed(&error));
        }
        if out.symlink_metadata().is_ok_and(|found| !found.is_file()) {
            return Err(failed(&"what is there is no plain file; `--out -` writes to standard output"));
        }
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(failed(&format!("there is no folder {}", folder.display())));
        }
        // As any file that is made here: the system's mask says who may read it.
        let mode = std::fs::Permissions::from_mode(0o666);
        let beside = tempfile::Builder::new().permissions(mode).tempfile_in(folder).map_err(|error| failed(&error))?;
        let file: &File = beside.as_file();
        let lines = self.write(&reader, &filter, BufWriter::new(file)).map_err(|error| failed(&error))?;
        file.sync_all().map_err(|error| failed(&error))?;
        beside.persist(out).map_err(|error| failed(&error.error))?;
        eprintln!("{lines} lines in {}", out.display());
        Ok(())
    }

    /// Writes all lines that are meant; says how many.
    fn write(&self, reader: &Reader, filter: &Filter, to: impl Write + Send) -> Result<u64, Stopped> {
        let shows = std::io::stderr().is_terminal();
        let rows = reader.rows()?;
        let (mut seen, mut lines) = (0, 0);
        let mut export = export::Export::begin(self.format, to)?;
        reader.lines(filter.range, |line| {
            seen += 1;
            if shows && seen % STEP == 0 {
                eprint!("\r{seen} attempts of at most {} read, {lines} lines written ", rows / 2);
            }
            if filter.admits(line) == Admits::Yes {
                lines += 1;
                export.add(line)?;
            }
            Ok::<_, Stopped>(())
        })?;
        export.end()?;
        if shows && seen >= STEP {
            eprintln!();
        }
        Ok(lines)
    }
}
