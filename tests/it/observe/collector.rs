//! A collector of traces: takes what a hub sends, and says which spans there are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;

/// A running collector; it ends when it is dropped.
pub(super) struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<(String, Vec<u8>)>>,
    /// Whether requests are taken and never answered.
    silent: AtomicBool,
    ended: AtomicBool,
    /// The connections that wait for an answer.
    waiting: Mutex<Vec<TcpStream>>,
}

impl Collector {
    /// One that takes everything.
    pub(super) fn start() -> Self {
        Self::with(false)
    }

    /// One that never answers.
    pub(super) fn silent() -> Self {
        Self::with(true)
    }

    fn with(silent: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { silent: AtomicBool::new(silent), ..Shared::default() });
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

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the requests.
    pub(super) fn heads(&self) -> Vec<String> {
        self.shared.requests.lock().iter().map(|(head, _)| head.clone()).collect()
    }

    /// Everything that was sent, as it came.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.shared.requests.lock().iter().flat_map(|(_, body)| body.clone()).collect()
    }

    /// The requests, decoded.
    pub(super) fn decoded(&self) -> Vec<ExportTraceServiceRequest> {
        let requests = self.shared.requests.lock();
        requests.iter().map(|(_, body)| ExportTraceServiceRequest::decode(&body[..]).unwrap()).collect()
    }

    /// The spans that came.
    pub(super) fn spans(&self) -> Vec<Span> {
        let resources = self.decoded().into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, mut peer: TcpStream) -> std::io::Result<()> {
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        let (head, rest) = loop {
            let n = peer.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            request.extend_from_slice(&buffer[..n]);
            if let Some(at) = request.windows(4).position(|end| end == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&request[..at]).to_lowercase(), request[at + 4..].to_vec());
            }
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        body[..rest.len()].copy_from_slice(&rest);
        peer.read_exact(&mut body[rest.len()..])?;
        self.requests.lock().push((head, body));
        if self.silent.load(Ordering::SeqCst) {
            self.waiting.lock().push(peer);
            return Ok(());
        }
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }
}

/// What a span says of something, as text.
pub(super) fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.clone()?.value? {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        other => panic!("{other:?}"),
    })
}
