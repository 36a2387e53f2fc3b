//! A hub in a process of its own, with its log.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

/// How long a hub may take to listen; far above what it takes.
const START_LIMIT: Duration = Duration::from_mins(1);

/// A running hub that logs JSON.
pub(super) struct LoggingHub {
    child: Child,
    pub(super) port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl LoggingHub {
    /// Starts it on a folder, with these variables.
    pub(super) fn start(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synchub"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SYNCHUB_"))
        {
            command.env_remove(name);
        }
        command.arg("serve").env("SYNCHUB_LISTEN", "127.0.0.1:0").env("SYNCHUB_DATA_DIR", folder);
        command.env("SYNCHUB_LOG_FORMAT", "json").envs(variables.iter().copied());
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let (log, lines) = (child.stderr.take().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (sender, ports) = channel();
        let kept = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("\"address\":\"127.0.0.1:") {
                    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    // The test may have given up.
                    let _ = sender.send(digits.parse().unwrap());
                }
                kept.lock().push(line);
            }
        });
        let port =
            ports.recv_timeout(START_LIMIT).unwrap_or_else(|_| panic!("no port in {:?}", lines.lock()));
        Self { child, port, lines, reader: Some(reader) }
    }

    /// Stops it in good order; everything that it has logged.
    pub(super) fn stop(mut self) -> Vec<String> {
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        let ended = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let lines = std::mem::take(&mut *self.lines.lock());
        assert!(ended.success(), "{lines:#?}");
        lines
    }
}

impl Drop for LoggingHub {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
