//! A device that uses the token of a page: it leaves a ticket, so that there is something to look at.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// The ticket's id, as the operator's page names it.
const TICKET: &str = "01980f0e-7c1a-7bbb-8000-00000000002a";

/// Says hello with the token, writes one ticket, and waits for the answer.
pub(super) fn leave_a_ticket(port: u16, token: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut request = format!("ws://127.0.0.1:{port}/ws").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "synchub.v1.json".parse().unwrap());
        let (mut hub, _) = connect_async(request).await.unwrap();
        let hello =
            json!({"type": "hello", "id": 1, "token": token, "device": {"id": "phone-1", "kind": "phone"}});
        let entry = json!({"domain": "ticket", "mobile_id": TICKET, "version": 0,
            "data": {"subject": "Lift stuck", "status": "NEW", "priority": "HIGH"}});
        let sync = json!({"type": "sync", "id": 2, "batch_id": TICKET, "entries": [entry]});
        for frame in [hello, sync] {
            hub.send(Message::text(frame.to_string())).await.unwrap();
        }
        loop {
            let message = hub.next().await.unwrap().unwrap();
            let frame: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            if frame["type"] == "sync_result" {
                assert!(
                    ["created", "unchanged", "duplicate"]
                        .contains(&frame["results"][0]["status"].as_str().unwrap()),
                    "{frame}"
                );
                break;
            }
        }
        hub.close(None).await.unwrap();
    });
}
