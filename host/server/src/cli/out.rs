//! What commands print. Its reader may be gone, as `| head -1` is: then the command ends, quietly, with the status
//! that a shell gives to what a closed pipe has ended.
//!
//! The standard library's macros panic there. Those below stand in for them in all of `cli`.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// 128 and the number of SIGPIPE.
const PIPE_CLOSED: i32 = 141;

/// Standard output, for what writes by itself.
pub(super) struct Out(io::Stdout);

/// Standard output.
pub(super) fn out() -> Out {
    Out(io::stdout())
}

/// Ends the command where nobody reads what it says.
fn read<T>(written: io::Result<T>) -> io::Result<T> {
    if written.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        std::process::exit(PIPE_CLOSED);
    }
    written
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        read(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        read(self.0.flush())
    }
}

/// Prints to standard output. Where that fails for another reason, as a disk that is full, the command fails.
pub(super) fn print(text: Arguments<'_>) {
    let mut out = out();
    if let Err(error) = out.write_fmt(text) {
        eprint(format_args!("kairos: standard output: {error}\n"));
        std::process::exit(1);
    }
}

/// Prints to standard error. Nobody is left to tell where that fails.
pub(super) fn eprint(text: Arguments<'_>) {
    let _ = io::stderr().write_fmt(text);
}

macro_rules! print {
    ($($text:tt)*) => { $crate::cli::out::print(format_args!($($text)*)) };
}

macro_rules! println {
    () => { $crate::cli::out::print(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::out::print(format_args!("{}\n", format_args!($($text)*))) };
}

macro_rules! eprint {
    ($($text:tt)*) => { $crate::cli::out::eprint(format_args!($($text)*)) };
}

macro_rules! eprintln {
    () => { $crate::cli::out::eprint(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::out::eprint(format_args!("{}\n", format_args!($($text)*))) };
}
