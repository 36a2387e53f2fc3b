//! A bare tokio-tungstenite broadcaster: what a publisher sends is committed as a row and goes to all
//! subscribers.
//!
//! It knows no users, no protocol, no history, holds nobody back, and answers publishers nothing. What waits
//! is committed together, as the hub does it, with the hub's settings of SQLite.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use rusqlite::{Connection, TransactionBehavior};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::bare_store::PRAGMAS;

/// What tungstenite reads at once: its default is filled with zeros at every look.
const READ_BUFFER: usize = 4096;
/// The most messages of a transaction.
const TOGETHER: usize = 64;

type Subscribers = Arc<Mutex<Vec<UnboundedSender<Bytes>>>>;

/// Serves until the process is killed.
pub(crate) fn serve(address: SocketAddr, database: &Path) -> Result<()> {
    let connection = Connection::open(database)?;
    connection.execute_batch(PRAGMAS)?;
    connection.execute_batch("CREATE TABLE message (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(accept(address, connection))
}

async fn accept(address: SocketAddr, connection: Connection) -> Result<()> {
    let socket =
        if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener: TcpListener = socket.listen(4096)?;
    let (publish, published) = mpsc::unbounded_channel();
    let (committed, broadcasting) = mpsc::unbounded_channel();
    let subscribers = Subscribers::default();
    std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || write(connection, published, &committed))?;
    start(broadcast(broadcasting, Arc::clone(&subscribers)));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        start(serve_one(stream, publish.clone(), Arc::clone(&subscribers)));
    }
}

/// The process is killed when it is not wanted any more, and its tasks with it.
#[expect(clippy::disallowed_methods, reason = "nothing has to be finished here")]
fn start(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

/// Commits what has come, all that waits in one transaction, and hands it on.
fn write(
    mut connection: Connection,
    mut published: UnboundedReceiver<Bytes>,
    committed: &UnboundedSender<Vec<Bytes>>,
) {
    while let Some(first) = published.blocking_recv() {
        let mut group = vec![first];
        while group.len() < TOGETHER
            && let Ok(next) = published.try_recv()
        {
            group.push(next);
        }
        insert(&mut connection, &group).expect("the yardstick's row can be written");
        if committed.send(group).is_err() {
            return;
        }
    }
}

fn insert(connection: &mut Connection, group: &[Bytes]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut statement = transaction.prepare_cached("INSERT INTO message (body) VALUES (?1)")?;
        for body in group {
            statement.execute([&body[..]])?;
        }
    }
    transaction.commit()
}

async fn broadcast(mut committed: UnboundedReceiver<Vec<Bytes>>, subscribers: Subscribers) {
    while let Some(group) = committed.recv().await {
        let mut subscribers = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| group.iter().all(|message| subscriber.send(message.clone()).is_ok()));
    }
}

async fn serve_one(stream: TcpStream, publish: UnboundedSender<Bytes>, subscribers: Subscribers) {
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let mut publishes = false;
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let look = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        publishes = request.uri().path() == "/publish";
        if let Some(offered) = request.headers().get("sec-websocket-protocol") {
            response.headers_mut().insert("sec-websocket-protocol", offered.clone());
        }
        Ok(response)
    };
    // Who looks whether the server listens says nothing.
    let Ok(socket) = tokio_tungstenite::accept_hdr_async_with_config(stream, look, Some(config)).await else {
        return;
    };
    if publishes {
        take(socket, &publish).await;
    } else {
        let (sender, messages) = mpsc::unbounded_channel();
        subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        send(socket, messages).await;
    }
}

async fn take(mut socket: WebSocketStream<TcpStream>, publish: &UnboundedSender<Bytes>) {
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Binary(body) = message
            && publish.send(body).is_err()
        {
            return;
        }
    }
}

/// Sends what waits with one flush, and reads what the subscriber says.
async fn send(mut socket: WebSocketStream<TcpStream>, mut messages: UnboundedReceiver<Bytes>) {
    loop {
        tokio::select! {
            message = messages.recv() => {
                let Some(message) = message else { return };
                if feed(&mut socket, message, &mut messages).await.is_err() {
                    return;
                }
            }
            said = socket.next() => if !matches!(said, Some(Ok(_))) { return },
        }
    }
}

async fn feed(
    socket: &mut WebSocketStream<TcpStream>,
    first: Bytes,
    messages: &mut UnboundedReceiver<Bytes>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    socket.feed(Message::Binary(first)).await?;
    while let Ok(next) = messages.try_recv() {
        socket.feed(Message::Binary(next)).await?;
    }
    socket.flush().await
}
