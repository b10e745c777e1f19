//! `kairos ledger export`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use kairos_store::ledger::{LedgerError, Reader};
use serde_json::json;

use super::super::Failed;
use super::super::out::out;
use super::{Where, Which, now_ms};
use crate::spend::export::{self, ExportError, Format};
use crate::spend::{Filter, LeftOut};

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

/// What was written.
struct Wrote {
    lines: u64,
    left_out: LeftOut,
}

impl Export {
    pub(super) fn run(self) -> Result<(), Failed> {
        let Some(file) = self.out.as_deref().filter(|_| !self.columns) else {
            println!("{}", if self.place.json { export::columns_json() } else { export::columns() });
            return Ok(());
        };
        let reader = self.place.open()?;
        let filter = self.which.filter(now_ms())?;
        let failed = |error: &dyn std::fmt::Display| Failed::new(format!("{}: {error}", file.display()));
        if file == Path::new("-") {
            let wrote = self.write(&reader, &filter, BufWriter::new(out())).map_err(|error| failed(&error))?;
            self.tell(&wrote, None);
            return Ok(());
        }
        if file.symlink_metadata().is_ok_and(|found| !found.is_file()) {
            return Err(failed(&"what is there is no plain file; `--out -` writes to standard output"));
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(failed(&format!("there is no folder {}", folder.display())));
        }
        // As any file that is made here: the system's mask says who may read it.
        let mode = std::fs::Permissions::from_mode(0o666);
        let beside = tempfile::Builder::new().permissions(mode).tempfile_in(folder).map_err(|error| failed(&error))?;
        let to: &File = beside.as_file();
        let wrote = self.write(&reader, &filter, BufWriter::new(to)).map_err(|error| failed(&error))?;
        to.sync_all().map_err(|error| failed(&error))?;
        beside.persist(file).map_err(|error| failed(&error.error))?;
        self.tell(&wrote, Some(file));
        Ok(())
    }

    /// Says what was written and what was left out: beside the lines, where they go to standard output.
    fn tell(&self, wrote: &Wrote, file: Option<&Path>) {
        let Wrote { lines, left_out } = wrote;
        let path = file.map(|file| file.display().to_string());
        match (self.place.json, path) {
            (true, path) => {
                let told = json!({"file": path, "lines": lines, "left_out": left_out.json()});
                if file.is_some() { println!("{told}") } else { eprintln!("{told}") }
            }
            (false, path) => {
                path.iter().for_each(|path| eprintln!("{lines} lines in {path}"));
                left_out.text().iter().for_each(|left_out| eprintln!("{left_out}"));
            }
        }
    }

    /// Writes all lines that are meant.
    fn write(&self, reader: &Reader, filter: &Filter, to: impl Write + Send) -> Result<Wrote, Stopped> {
        let shows = std::io::stderr().is_terminal();
        let rows = reader.rows()?;
        let (mut seen, mut lines, mut left_out) = (0, 0, LeftOut::default());
        let mut export = export::Export::begin(self.format, to)?;
        reader.lines(filter.range, |line| {
            seen += 1;
            if shows && seen % STEP == 0 {
                eprint!("\r{seen} attempts of at most {} read, {lines} lines written ", rows / 2);
            }
            if left_out.admits(filter, line) {
                lines += 1;
                export.add(line)?;
            }
            Ok::<_, Stopped>(())
        })?;
        export.end()?;
        if shows && seen >= STEP {
            eprintln!();
        }
        Ok(Wrote { lines, left_out })
    }
}
