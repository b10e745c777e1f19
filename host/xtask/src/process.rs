//! Running other programs, and saying which failed.

use std::path::Path;
use std::process::Command;
use std::{fmt, io};

/// A program failed, or could not be started.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl Failed {
    /// What becomes of an error of a file's.
    pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Cargo, as it runs this, at the top of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::root());
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), Failed> {
    let shown = shown(command);
    let status = command.status().map_err(|error| Failed(format!("`{shown}` could not be started: {error}")))?;
    if status.success() { Ok(()) } else { Err(Failed(format!("`{shown}` failed ({status})"))) }
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}
