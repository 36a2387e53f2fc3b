//! A hub that does what the test's script says, over a real socket.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::json;
use synchub_client::{Backoff, Config, MemoryStorage};
use synchub_protocol::client::{Device, Hello, Subscription, Sync};
use synchub_protocol::codec::decode_client;
use synchub_protocol::server::{
    CaughtUp, Change, ChangeOperation, EntryResult, Limits, Origin, Position, Snapshot, SnapshotRecord,
    Status, SyncResult, Welcome,
};
use synchub_protocol::{ClientFrame, Data, DeviceKind, Encoding, Priority, ServerFrame, Timestamp, gzip};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use uuid::Uuid;

pub(crate) struct FakeHub {
    listener: TcpListener,
}

/// One socket, seen from the hub.
pub(crate) struct Peer {
    stream: WebSocketStream<TcpStream>,
    encoding: Encoding,
    pub(crate) authorization: Option<String>,
    /// How many compressed messages came.
    pub(crate) compressed: usize,
}

impl FakeHub {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn config(&self, storage: &MemoryStorage) -> Config {
        let url = format!("ws://{}/ws", self.listener.local_addr().unwrap());
        let device = Device {
            id: "phone".to_owned(),
            kind: DeviceKind::Phone,
            install_id: None,
            name: None,
            os: None,
            app_version: None,
        };
        let mut config = Config::new(url, Arc::new("token".to_owned()), device);
        config.storage = Box::new(storage.clone());
        config.subscriptions = vec![subscription("task")];
        config.backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_millis(50) };
        config.ack_every = Duration::from_millis(20);
        config
    }

    pub(crate) async fn accept(&self) -> Peer {
        let accepted = tokio::time::timeout(Duration::from_secs(10), self.listener.accept());
        let (stream, _) = accepted.await.expect("the client comes").unwrap();
        let (mut encoding, mut authorization) = (Encoding::Json, None);
        #[expect(clippy::result_large_err, reason = "the signature that tungstenite asks for")]
        let read = |request: &Request, mut response: Response| {
            let header = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
            let protocol = header("sec-websocket-protocol").unwrap();
            encoding = Encoding::from_subprotocol(&protocol).unwrap();
            authorization = header("authorization");
            response.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
            Ok(response)
        };
        let stream = tokio_tungstenite::accept_hdr_async(stream, read).await.unwrap();
        Peer { stream, encoding, authorization, compressed: 0 }
    }

    /// Accepts a client up to `welcome`.
    pub(crate) async fn welcome(&self, last_client_seq: u64) -> (Peer, Hello) {
        let mut peer = self.accept().await;
        let hello = peer.hello().await;
        peer.send(ServerFrame::Welcome(welcome(hello.id, last_client_seq))).await;
        (peer, hello)
    }
}

impl Peer {
    pub(crate) async fn next(&mut self) -> ClientFrame {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(10), self.stream.next());
            let message = message.await.expect("the client sends something").expect("the client is there");
            let bytes = match message.expect("the socket is open") {
                Message::Binary(bytes) if gzip::is_gzip(&bytes) => {
                    self.compressed += 1;
                    gzip::inflate(&bytes, 16 << 20).unwrap()
                }
                Message::Binary(bytes) => bytes,
                Message::Text(text) => text.into(),
                _ => continue,
            };
            return decode_client(self.encoding, &bytes).unwrap();
        }
    }

    /// Whether the client has gone.
    pub(crate) async fn gone(&mut self) {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(10), self.stream.next());
            match message.await.expect("the client goes") {
                None | Some(Err(_) | Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {}
            }
        }
    }

    pub(crate) async fn hello(&mut self) -> Hello {
        match self.next().await {
            ClientFrame::Hello(hello) => hello,
            other => panic!("hello first, not {other:?}"),
        }
    }

    /// The next batch; acks and pings before it are skipped.
    pub(crate) async fn sync(&mut self) -> Sync {
        loop {
            match self.next().await {
                ClientFrame::Sync(sync) => return sync,
                ClientFrame::Ack(_) | ClientFrame::Ping(_) => {}
                other => panic!("sync, not {other:?}"),
            }
        }
    }

    /// The id of the next `digest`.
    pub(crate) async fn digest(&mut self) -> u64 {
        loop {
            if let ClientFrame::Digest(digest) = self.next().await {
                return digest.id;
            }
        }
    }

    pub(crate) async fn ack(&mut self) -> String {
        loop {
            if let ClientFrame::Ack(ack) = self.next().await {
                return ack.cursor;
            }
        }
    }

    pub(crate) async fn send(&mut self, frame: ServerFrame) {
        let bytes = self.encoding.encode(&frame);
        let message = match self.encoding {
            Encoding::MessagePack => Message::Binary(bytes),
            Encoding::Json => Message::Text(String::from_utf8(bytes.to_vec()).unwrap().into()),
        };
        self.stream.send(message).await.unwrap();
    }

    /// Sends a frame as gzip, which has to pay.
    pub(crate) async fn send_compressed(&mut self, frame: &ServerFrame) {
        let message = gzip::deflate(&self.encoding.encode(frame)).unwrap();
        self.stream.send(Message::Binary(message)).await.unwrap();
    }

    /// Sends any message.
    pub(crate) async fn send_message(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// Answers every entry of a batch as created with version 1.
    pub(crate) async fn answer(&mut self, sync: &Sync, seq: u64) {
        let results = sync.entries.iter().map(|raw| created(raw.entry.as_ref().unwrap().mobile_id)).collect();
        let answer = SyncResult {
            id: sync.id,
            batch_id: sync.batch_id,
            results,
            seq,
            server_timestamp: Timestamp(0),
            repeated: false,
            backoff_ms: None,
            recommended_batch: None,
        };
        self.send(ServerFrame::SyncResult(answer)).await;
    }

    pub(crate) async fn close(mut self, code: u16) {
        let close = CloseFrame { code: code.into(), reason: "scripted".into() };
        self.stream.close(Some(close)).await.unwrap();
        // The client's own close is awaited, so that its half of the goodbye is not cut off.
        while let Some(Ok(_)) = self.stream.next().await {}
    }
}

pub(crate) fn subscription(domain: &str) -> Subscription {
    Subscription { domain: domain.to_owned(), filter: None, priority: None }
}

pub(crate) fn welcome(id: u64, last_client_seq: u64) -> Welcome {
    Welcome {
        id,
        session_id: "session".to_owned(),
        server_time: Timestamp(0),
        epoch: 0,
        last_client_seq,
        fresh: Vec::new(),
        compression: None,
        features: Vec::new(),
        heartbeat_secs: 25,
        limits: Limits {
            max_frame_bytes: 1 << 20,
            max_entry_bytes: 1 << 16,
            max_batch_entries: 1000,
            max_in_flight: 4,
            recommended_batch: 100,
        },
    }
}

pub(crate) fn data(title: &str) -> Data {
    json!({"title": title}).as_object().unwrap().clone()
}

pub(crate) fn update(mobile_id: Uuid, version: u64, title: &str) -> ServerFrame {
    ServerFrame::DataUpdate(Change {
        domain: "task".to_owned(),
        operation: ChangeOperation::Update,
        mobile_id,
        version,
        base_version: None,
        data: Some(Arc::new(data(title))),
        changed: None,
        priority: Priority::Normal,
        origin: Origin::default(),
        server_timestamp: Timestamp(0),
    })
}

pub(crate) fn snapshot(records: &[(Uuid, u64)], cursor: &str) -> ServerFrame {
    let record = |(mobile_id, version): &(Uuid, u64)| SnapshotRecord {
        mobile_id: *mobile_id,
        version: *version,
        data: Arc::new(data("snapshot")),
        priority: Priority::Normal,
        server_timestamp: Timestamp(0),
    };
    ServerFrame::Snapshot(Snapshot {
        domain: "task".to_owned(),
        first: true,
        last: true,
        records: records.iter().map(record).collect(),
        total: None,
        cursor: cursor.to_owned(),
    })
}

pub(crate) fn position(cursor: &str, seq: u64) -> ServerFrame {
    ServerFrame::Position(Position { cursor: cursor.to_owned(), seq })
}

pub(crate) fn caught_up(cursor: &str, seq: u64) -> ServerFrame {
    ServerFrame::CaughtUp(CaughtUp { cursor: cursor.to_owned(), seq, id: None })
}

pub(crate) fn created(mobile_id: Uuid) -> EntryResult {
    EntryResult {
        mobile_id: Some(mobile_id),
        status: Status::Created,
        server_version: Some(1),
        server_data: None,
        deleted: None,
        conflict: None,
        error: None,
    }
}
