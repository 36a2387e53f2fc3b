//! A peer that speaks raw frames, as JSON values, in either encoding.

use std::collections::VecDeque;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use synchub_protocol::{Encoding, gzip};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};
use uuid::Uuid;

use super::hub::Hub;

/// How long a test waits for a frame that has to come; far above what it ever takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing must come before a test believes that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

/// A hello to send; `Default` leaves everything optional out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hello {
    pub(crate) tenant: String,
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) unit: Option<String>,
    /// Merged into the frame, so that a test can say anything.
    pub(crate) more: Value,
}

impl Hello {
    /// A hello of a phone of this user in tenant `acme`, subscribed to nothing.
    pub(crate) fn of(user: &str, device: &str) -> Self {
        Self {
            tenant: "acme".into(),
            user: user.into(),
            device: device.into(),
            more: json!({}),
            ..Self::default()
        }
    }

    /// The same in a unit.
    pub(crate) fn unit(mut self, unit: &str) -> Self {
        self.unit = Some(unit.to_owned());
        self
    }

    /// The same with these fields added or replaced; `device` is merged.
    pub(crate) fn with(mut self, more: Value) -> Self {
        merge(&mut self.more, more);
        self
    }

    /// The same, subscribed to these domains.
    pub(crate) fn to(self, domains: &[&str]) -> Self {
        let subscriptions: Vec<_> = domains.iter().map(|domain| json!({"domain": domain})).collect();
        self.with(json!({"subscriptions": subscriptions}))
    }

    /// The frame.
    pub(crate) fn frame(&self, hub: &Hub) -> Value {
        let token = hub.token(&self.tenant, &self.user, |grant| grant.unit.clone_from(&self.unit));
        let mut frame =
            json!({"type": "hello", "id": 1, "token": token, "device": {"id": self.device, "kind": "phone"}});
        merge(&mut frame, self.more.clone());
        frame
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// The upgrade request of a peer in an encoding.
pub(crate) fn request(hub: &Hub, encoding: Encoding) -> Request {
    let mut request = hub.url().into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", encoding.subprotocol().parse().unwrap());
    request
}

/// One socket.
pub(crate) struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    encoding: Encoding,
    next_id: u64,
    /// What [`Peer::ask`] passed over; it is read before what comes next.
    passed: VecDeque<Value>,
    /// How many compressed messages came.
    pub(crate) compressed: usize,
    /// The last cursor that came.
    pub(crate) cursor: Option<String>,
}

impl Peer {
    /// Opens a socket without saying anything.
    pub(crate) async fn open(hub: &Hub, encoding: Encoding) -> Self {
        Self::open_as(request(hub, encoding), encoding).await
    }

    /// Opens a socket with any request.
    pub(crate) async fn open_as(request: Request, encoding: Encoding) -> Self {
        let (socket, _) = connect_async(request).await.unwrap();
        Self { socket, encoding, next_id: 2, passed: VecDeque::new(), compressed: 0, cursor: None }
    }

    /// Opens a socket over which little fits at once: the hub soon finds it full when nobody reads.
    pub(crate) async fn open_narrow(hub: &Hub, encoding: Encoding) -> Self {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(8 * 1024).unwrap();
        let tcp = tcp.connect(hub.node.address()).await.unwrap();
        let (socket, _) = client_async(request(hub, encoding), MaybeTlsStream::Plain(tcp)).await.unwrap();
        Self { socket, encoding, next_id: 2, passed: VecDeque::new(), compressed: 0, cursor: None }
    }

    /// Says hello and takes the welcome.
    pub(crate) async fn greet(&mut self, hub: &Hub, hello: &Hello) -> Value {
        self.send(&hello.frame(hub)).await;
        let welcome = self.next().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        welcome
    }

    /// Opens a JSON socket, says hello and takes the welcome.
    pub(crate) async fn hello(hub: &Hub, hello: &Hello) -> (Self, Value) {
        Self::hello_in(hub, hello, Encoding::Json).await
    }

    /// The same in an encoding.
    pub(crate) async fn hello_in(hub: &Hub, hello: &Hello, encoding: Encoding) -> (Self, Value) {
        let mut peer = Self::open(hub, encoding).await;
        let welcome = peer.greet(hub, hello).await;
        (peer, welcome)
    }

    /// Says hello and takes everything up to `caught_up`; returns the data frames before it.
    pub(crate) async fn live(hub: &Hub, hello: &Hello) -> (Self, Vec<Value>) {
        let (mut peer, _) = Self::hello(hub, hello).await;
        let frames = peer.until("caught_up").await;
        (peer, frames)
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, frame: &Value) {
        let bytes = self.encoding.encode(frame);
        let message = match self.encoding {
            Encoding::MessagePack => Message::Binary(bytes),
            Encoding::Json => Message::text(String::from_utf8(bytes.to_vec()).unwrap()),
        };
        self.send_message(message).await;
    }

    /// Sends a frame as gzip, which has to pay.
    pub(crate) async fn send_compressed(&mut self, frame: &Value) {
        let message = gzip::deflate(&self.encoding.encode(frame)).expect("large enough to be compressed");
        self.send_message(Message::Binary(message)).await;
    }

    /// Sends any message; a hub that has closed already is no error here.
    pub(crate) async fn send_message(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    /// The next message as it comes, pings and closes too; none at the end of a clean close.
    pub(crate) async fn message(&mut self) -> Option<Result<Message, Error>> {
        timeout(PATIENCE, self.socket.next()).await.expect("the hub says nothing any more")
    }

    /// Says goodbye and goes on listening.
    pub(crate) async fn say_close(&mut self) {
        self.socket.close(None).await.unwrap();
    }

    /// The next frame; fails the test if none comes or the hub closes.
    pub(crate) async fn next(&mut self) -> Value {
        match self.next_or_close().await {
            Ok(frame) => frame,
            Err(code) => panic!("the hub closed with {code}"),
        }
    }

    /// The next frame, or the code with which the hub closed (0 without one).
    pub(crate) async fn next_or_close(&mut self) -> Result<Value, u16> {
        match self.passed.pop_front() {
            Some(frame) => Ok(frame),
            None => self.fresh().await,
        }
    }

    async fn fresh(&mut self) -> Result<Value, u16> {
        let read = timeout(PATIENCE, self.read()).await;
        read.expect("the hub says nothing any more")
    }

    async fn read(&mut self) -> Result<Value, u16> {
        loop {
            let value: Value = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Binary(bytes))) => self.unpack(&bytes),
                Some(Ok(Message::Close(Some(frame)))) => return Err(frame.code.into()),
                Some(Ok(Message::Close(None)) | Err(_)) | None => return Err(0),
                Some(Ok(_)) => continue,
            };
            if let Some(cursor) = value["cursor"].as_str() {
                self.cursor = Some(cursor.to_owned());
            }
            return Ok(value);
        }
    }

    fn unpack(&mut self, message: &[u8]) -> Value {
        if !gzip::is_gzip(message) {
            assert_eq!(self.encoding, Encoding::MessagePack, "a binary message in a JSON session");
            return rmp_serde::from_slice(message).unwrap();
        }
        self.compressed += 1;
        let frame = gzip::inflate(message, 16 << 20).unwrap();
        match self.encoding {
            Encoding::MessagePack => rmp_serde::from_slice(&frame).unwrap(),
            Encoding::Json => serde_json::from_slice(&frame).unwrap(),
        }
    }

    /// All frames up to and with the first of a type, that one last.
    pub(crate) async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            frames.push(self.next().await);
            if frames.last().is_some_and(|frame| frame["type"] == kind) {
                return frames;
            }
        }
    }

    /// The first frame of a type; those before it are skipped.
    pub(crate) async fn find(&mut self, kind: &str) -> Value {
        self.until(kind).await.pop().unwrap()
    }

    /// Sends a request under a fresh id without waiting; returns the id.
    pub(crate) async fn request(&mut self, mut request: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = json!(id);
        self.send(&request).await;
        id
    }

    /// The answer to a request; other frames before it are skipped.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        loop {
            let frame = self.next().await;
            if frame["id"] == id {
                return frame;
            }
        }
    }

    /// The code with which the hub closes; frames before it are skipped.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            if let Err(code) = self.next_or_close().await {
                return code;
            }
        }
    }

    /// What comes until nothing more comes.
    pub(crate) async fn quiet(&mut self) -> Vec<Value> {
        let mut frames: Vec<_> = self.passed.drain(..).collect();
        while let Ok(Ok(frame)) = timeout(SILENCE, self.read()).await {
            frames.push(frame);
        }
        frames
    }

    /// Sends a request under a fresh id and takes its answer; frames before it are kept for later.
    pub(crate) async fn ask(&mut self, mut request: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = json!(id);
        self.send(&request).await;
        loop {
            let frame = self.fresh().await.unwrap_or_else(|code| panic!("the hub closed with {code}"));
            if frame["id"] == id {
                return frame;
            }
            self.passed.push_back(frame);
        }
    }

    /// Sends entries as a batch of their own and takes the results.
    pub(crate) async fn sync(&mut self, entries: Value) -> Vec<Value> {
        let batch = json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": entries});
        let answer = self.ask(batch).await;
        assert_eq!(answer["type"], "sync_result", "{answer}");
        answer["results"].as_array().unwrap().clone()
    }

    /// Sends entries as a batch of their own and returns the answer's `seq`.
    pub(crate) async fn commit(&mut self, entries: Value) -> u64 {
        let batch = json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": entries});
        let answer = self.ask(batch).await;
        let results = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
        for result in results {
            assert!(["created", "updated"].contains(&result["status"].as_str().unwrap()), "{result}");
        }
        answer["seq"].as_u64().unwrap()
    }

    /// Closes the socket.
    pub(crate) async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }

    /// Drops the connection without a word.
    pub(crate) fn cut(self) {
        drop(self);
    }
}
