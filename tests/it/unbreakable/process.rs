//! A hub in a process of its own, with its log, and what is said to it from here.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use synchub::auth::{Grant, Role, Signer};
use synchub::config::{AuthSettings, Secret};
use synchub_protocol::Encoding;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use crate::support::Peer;

/// What these hubs check tokens with.
pub(super) const SECRET: &str = "a secret of more than 32 bytes, for hubs that tests break";
/// How long a hub may take to listen; far above what it takes.
const START_LIMIT: Duration = Duration::from_mins(1);

/// The hub's command, which is to serve this folder, for so many seconds at most; `descriptors` bounds its open
/// files.
pub(super) fn serve(folder: &Path, secs: u32, descriptors: Option<u32>) -> Command {
    let mut command = Command::new("bash");
    let limit = descriptors.map_or_else(String::new, |most| format!("ulimit -n {most}; "));
    command.args(["-c", &format!("{limit}exec timeout --preserve-status --foreground {secs} \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_synchub")).arg("serve");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SYNCHUB_")) {
        command.env_remove(name);
    }
    command.env_remove("FAILPOINTS");
    command.env("SYNCHUB_LISTEN", "127.0.0.1:0").env("SYNCHUB_DATA_DIR", folder);
    command.env("SYNCHUB_LOG_FORMAT", "json").env("SYNCHUB_AUTH_HS256_SECRET", SECRET);
    command
}

/// A token of tenant `acme`, signed for a hub whose clock stands at `now_us`.
pub(super) fn token(user: &str, role: Role, now_us: i64) -> String {
    let auth = AuthSettings { hs256_secret: Some(Secret::new(SECRET)), ..AuthSettings::default() };
    let mut grant = Grant::new("acme", user, role);
    grant.ttl_secs = 3600;
    Signer::new(&auth).unwrap().sign(&grant, now_us).unwrap()
}

/// A hello of the user's phone, subscribed to nothing.
pub(super) fn hello(user: &str, now_us: i64) -> Value {
    let token = token(user, Role::Device, now_us);
    json!({"type": "hello", "id": 1, "token": token, "device": {"id": user, "kind": "phone"}})
}

/// Opens a JSON socket.
pub(super) async fn open(address: SocketAddr) -> Peer {
    Peer::open_as(request(address), Encoding::Json).await
}

fn request(address: SocketAddr) -> Request {
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    let offered = Encoding::Json.subprotocol().parse().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", offered);
    request
}

/// Opens a socket and says hello; what comes up to `caught_up` too.
pub(super) async fn live(address: SocketAddr, hello: &Value) -> (Peer, Vec<Value>) {
    let mut peer = open(address).await;
    peer.send(hello).await;
    let frames = peer.until("caught_up").await;
    (peer, frames)
}

/// A running hub.
pub(super) struct Process {
    child: Child,
    pub(super) address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts what [`serve`] gave and waits until it listens.
    pub(super) fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let (log, lines) = (child.stderr.take().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (sender, addresses) = channel();
        let kept = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("\"address\":\"") {
                    // The test may have given up.
                    let _ = sender.send(rest.split('"').next().unwrap().parse().unwrap());
                }
                kept.lock().push(line);
            }
        });
        let address = addresses.recv_timeout(START_LIMIT);
        let address = address.unwrap_or_else(|_| panic!("it does not listen: {:?}", lines.lock()));
        Self { child, address, lines, reader: Some(reader) }
    }

    /// How many lines of the log hold this text.
    pub(super) fn said(&self, text: &str) -> usize {
        self.lines.lock().iter().filter(|line| line.contains(text)).count()
    }

    /// Asks it to stop in good order.
    pub(super) fn terminate(&self) {
        // `timeout` hands the signal on.
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
    }

    /// How it ended, and its log.
    pub(super) fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let ended = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        (ended, std::mem::take(&mut *self.lines.lock()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
            drop(self.child.wait());
        }
    }
}
