//! Services of AWS's other than Bedrock, as moto serves them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::python;

/// A server of moto's, which ends with the test.
pub struct Moto {
    child: Child,
    /// `http://ADDR`.
    pub url: String,
}

impl Moto {
    /// Starts one.
    pub fn start() -> Self {
        let serve = ["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"];
        let mut child =
            Command::new(python()).args(serve).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned())).unwrap();
        // Its log is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
