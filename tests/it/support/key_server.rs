//! An issuer's web server: one document, and a count of who asked for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Mutex as Gate, OwnedMutexGuard, watch};

use super::Issuer;

/// A running server; it ends when it is dropped.
pub(crate) struct KeyServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<String>,
    asked: watch::Sender<usize>,
    gate: Arc<Gate<()>>,
    ended: AtomicBool,
}

impl KeyServer {
    /// A server with a set of these keys.
    pub(crate) fn start(keys: &[&Issuer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: Mutex::new(ok(&set(keys))),
            asked: watch::Sender::new(0),
            gate: Arc::default(),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok((peer, _)) = listener.accept() {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                // A peer that goes away is its own affair.
                drop(serving.serve(peer));
            }
        });
        Self { address, shared }
    }

    /// Where the set is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    /// Has other keys from now on.
    pub(crate) fn publish(&self, keys: &[&Issuer]) {
        self.answer(&set(keys).to_string());
    }

    /// Answers with this text from now on.
    pub(crate) fn answer(&self, body: &str) {
        *self.shared.answer.lock() = ok(body);
    }

    /// Answers with this status from now on.
    pub(crate) fn fail(&self, status: &str) {
        *self.shared.answer.lock() =
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        *self.shared.asked.borrow()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn until_asked(&self, times: usize) {
        self.shared.asked.subscribe().wait_for(|asked| *asked >= times).await.unwrap();
    }

    /// Answers nobody before the guard is dropped.
    pub(crate) async fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.shared.gate).lock_owned().await
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, mut peer: TcpStream) -> std::io::Result<()> {
        let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let n = peer.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            request.extend_from_slice(&buffer[..n]);
        }
        self.asked.send_modify(|asked| *asked += 1);
        let _open = self.gate.blocking_lock();
        let answer = self.answer.lock().clone();
        peer.write_all(answer.as_bytes())
    }
}

/// A set of these keys.
pub(crate) fn set(keys: &[&Issuer]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}

fn ok(body: &(impl ToString + ?Sized)) -> String {
    let body = body.to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
