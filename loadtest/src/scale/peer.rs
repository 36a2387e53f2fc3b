//! A device as bare frames: it reads everything and keeps nothing but the last cursor.

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::hub::Hub;
use crate::survey::Actor;
use crate::target::wall_clock;
use crate::token::Signer;

/// How long a frame may take to come.
const PATIENCE: Duration = Duration::from_mins(5);

/// A socket.
pub(super) struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    /// The last cursor that came.
    pub(super) cursor: Option<String>,
}

impl Peer {
    /// Connects, and says nothing yet.
    pub(super) async fn connect(hub: &Hub) -> Result<Self> {
        let mut request = hub.url().into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", "synchub.v1.json".parse()?);
        let (socket, _) = connect_async(request).await.context("the hub cannot be reached")?;
        Ok(Self { socket, next_id: 1, cursor: None })
    }

    /// Says hello as a device of this user, and waits for the welcome.
    pub(super) async fn hello(
        &mut self,
        hub: &Hub,
        user: &str,
        domains: &[&str],
        cursor: Option<&str>,
    ) -> Result<()> {
        let (tenant, device) = ("scale".to_owned(), format!("{user}-device"));
        let actor = Actor { tenant, user: user.to_owned(), device: device.clone(), unit: None, lines: 0 };
        let token = Signer::new(hub.secret()).sign(&actor, wall_clock()())?;
        let subscriptions: Vec<_> = domains.iter().map(|domain| json!({"domain": domain})).collect();
        let mut hello = json!({"type": "hello", "token": token, "subscriptions": subscriptions,
            "device": {"id": device, "kind": "desktop"}});
        if let Some(cursor) = cursor {
            hello["cursor"] = cursor.into();
        }
        self.send(hello).await?;
        self.wait_for("welcome").await.map(drop)
    }

    /// Sends a request with the next id.
    pub(super) async fn send(&mut self, mut frame: Value) -> Result<()> {
        frame["id"] = self.next_id.into();
        self.next_id += 1;
        Ok(self.socket.send(Message::text(frame.to_string())).await?)
    }

    /// Reads until a frame of this type comes; an error ends it.
    pub(super) async fn wait_for(&mut self, kind: &str) -> Result<Value> {
        loop {
            let frame = self.next().await?;
            if frame["type"] == kind {
                return Ok(frame);
            }
            if frame["type"] == "error" {
                bail!("the hub answered {frame}");
            }
        }
    }

    /// The next frame.
    pub(super) async fn next(&mut self) -> Result<Value> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.context("nothing comes")?;
            let message = message.context("the hub ended the connection")??;
            if let Message::Text(text) = message {
                let mut frame: Value = serde_json::from_str(&text)?;
                if let Some(Value::String(cursor)) = frame.get_mut("cursor").map(Value::take) {
                    self.cursor = Some(cursor);
                }
                return Ok(frame);
            }
        }
    }

    /// Ends the connection.
    pub(super) async fn close(mut self) {
        // What matters has been read; how the connection ends does not.
        drop(self.socket.close(None).await);
    }
}
