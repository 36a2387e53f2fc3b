//! Creates a task, waits until the hub has it, and prints what changes from then on.
//!
//! `cargo run -p synchub-client --example hello -- ws://127.0.0.1:8480/ws TOKEN`

use std::sync::Arc;

use synchub_client::protocol::client::{Device, Subscription};
use synchub_client::protocol::{Data, DeviceKind};
use synchub_client::{Client, Config, Event, SqliteStorage};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example talks to the person who started it")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(token)) = (arguments.next(), arguments.next()) else {
        return Err("usage: hello URL TOKEN".into());
    };
    let device = Device {
        id: "hello".to_owned(),
        kind: DeviceKind::Laptop,
        install_id: None,
        name: Some("An example".to_owned()),
        os: None,
        app_version: None,
    };
    let mut config = Config::new(url, Arc::new(token), device);
    config.storage = Box::new(SqliteStorage::open("hello.db")?);
    config.subscriptions = vec![Subscription { domain: "task".to_owned(), filter: None, priority: None }];
    let client = Client::start(config).await?;
    let mut events = client.events();

    let task = Data::from_iter([("title".to_owned(), "Say hello".into())]);
    let ticket = client.create("task", task);
    println!("shown at once: {:?}", client.shown("task", ticket.mobile_id()));
    println!("decided: {:?}", ticket.await?);

    while let Ok(event) = events.recv().await {
        match event {
            Event::Changed { domain, mobile_id, .. } => {
                println!("{domain} {mobile_id}: {:?}", client.shown(&domain, mobile_id));
            }
            Event::Stopped { reason } => println!("{reason}"),
            other => println!("{other:?}"),
        }
    }
    Ok(())
}
