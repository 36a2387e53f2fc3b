//! The hub dies at every named point between a request for pushes and its answer: asked again under the same id, it
//! has pushed once, and devices see it as P2 says. The hub is a child process, and is really gone.

use std::io::{BufRead, BufReader, Lines, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use synchub::app::Node;
use synchub::auth::Role;
use synchub::clock::ManualClock;
use synchub::config::{RateSettings, Secret, Settings};
use synchub::entropy::SeededEntropy;
use tempfile::TempDir;
use uuid::Uuid;

use super::process::{SECRET, hello, live, open, token};
use crate::push::service::message;
use crate::store::crash::BEFORE_COMMIT;
use crate::support::{NOW_US, Peer};

/// Tells the child where its store is.
const FOLDER: &str = "SYNCHUB_TEST_FOLDER";
const AFTER_COMMIT: [&str; 3] = ["store::after_commit", "engine::before_answer", "publish::decided"];

/// A hub that can be told to die.
struct Mortal {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Mortal {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "unbreakable::killed_pushes::child_that_serves", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("listening ").map(|address| address.parse().unwrap()));
        Self { child, lines, address: address.expect("it listens") }
    }

    /// It dies the next time that it comes by this point.
    fn arm(&mut self, point: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{point}").unwrap();
        assert_eq!(self.lines.next().unwrap().unwrap(), "armed");
    }

    fn died(mut self) -> bool {
        !self.child.wait().unwrap().success()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the tests below, which make it die"]
async fn child_that_serves() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut settings = Settings { listen: ([127, 0, 0, 1], 0).into(), ..Settings::default() };
    settings.auth.hs256_secret = Some(Secret::new(SECRET));
    settings.rates = RateSettings::unlimited();
    settings.push.per_minute = 1_000_000;
    settings.data_dir = PathBuf::from(folder);
    let entropy = SeededEntropy::new(std::process::id().into());
    let node = Node::start(settings, ManualClock::at(NOW_US), entropy).await.unwrap();
    let say = |line: String| std::io::stdout().write_all(line.as_bytes()).unwrap();
    say(format!("\nlistening {}\n", node.address()));
    // It ends with its parent; the node has threads of its own meanwhile.
    for point in std::io::stdin().lines() {
        fail::cfg_callback(point.unwrap(), || std::process::abort()).unwrap();
        say("armed\n".to_owned());
    }
    std::process::exit(0);
}

/// How a service asks.
#[derive(Clone, Copy)]
enum Way {
    Socket,
    Post,
}

impl Way {
    /// Asks for pushes; nothing if the hub is gone before it answers.
    async fn ask(self, address: SocketAddr, id: Uuid, pushes: &Value) -> Option<Value> {
        let token = token("service", Role::Publisher, NOW_US);
        match self {
            Self::Socket => {
                let mut peer = open(address).await;
                peer.send(&json!({"type": "hello", "id": 1, "token": token})).await;
                peer.find("caught_up").await;
                peer.request(json!({"type": "publish", "request_id": id, "pushes": pushes})).await;
                loop {
                    match peer.next_or_close().await {
                        Ok(frame) if frame["type"] == "published" => return Some(frame),
                        Ok(frame) => assert_ne!(frame["type"], "error", "{frame}"),
                        Err(_) => return None,
                    }
                }
            }
            Self::Post => {
                let request = reqwest::Client::new().post(format!("http://{address}/api/v2/push"));
                let request = request.bearer_auth(token).header("Idempotency-Key", id.to_string());
                let response = request.body(json!({"pushes": pushes}).to_string()).send().await.ok()?;
                assert_eq!(response.status(), 200);
                Some(serde_json::from_str(&response.text().await.ok()?).unwrap())
            }
        }
    }
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["pushes"].as_array().unwrap().iter().map(|push| push["push_id"].as_str().unwrap()).collect()
}

/// The ids of the messages with this text, in order.
fn seen<'a>(frames: &'a [Value], text: &str) -> Vec<&'a str> {
    let messages = frames.iter().filter(|frame| frame["type"] == "message" && frame["data"]["text"] == text);
    messages.map(|frame| frame["push_id"].as_str().unwrap()).collect()
}

/// What a peer is sent up to the message with this text.
async fn up_to(peer: &mut Peer, text: &str) -> Vec<Value> {
    let mut frames = Vec::new();
    loop {
        frames.extend(peer.until("message").await);
        if frames.last().unwrap()["data"]["text"] == text {
            return frames;
        }
    }
}

async fn rest(mut peer: Peer) -> Vec<Value> {
    let mut frames = Vec::new();
    while let Ok(frame) = peer.next_or_close().await {
        frames.push(frame);
    }
    frames
}

fn with_cursor(user: &str, cursor: Option<&String>) -> Value {
    let mut hello = hello(user, NOW_US);
    if let Some(cursor) = cursor {
        hello["cursor"] = json!(cursor);
    }
    hello
}

/// One death: bob is there when it happens, dave is away.
async fn die_at(mut hub: Mortal, folder: &Path, (way, point): (Way, &str), is_durable: bool) -> Mortal {
    let (mut bob, _) = live(hub.address, &hello("bob", NOW_US)).await;
    let (mut dave, _) = live(hub.address, &hello("dave", NOW_US)).await;
    let cursors = [bob.cursor.take(), dave.cursor.take()];
    dave.close().await;
    let (id, text, mark) = (Uuid::now_v7(), format!("at {point}"), format!("after {point}"));
    let pushes = |text: &str| json!([message("bob", text), message("dave", text)]);
    hub.arm(point);
    assert!(way.ask(hub.address, id, &pushes(&text)).await.is_none(), "{point} was never reached");
    let before: Vec<String> = seen(&rest(bob).await, &text).into_iter().map(str::to_owned).collect();
    assert!(hub.died() && before.len() <= usize::from(is_durable), "{point}: {before:?}");

    let hub = Mortal::start(folder);
    let (mut bob, mut frames) = live(hub.address, &with_cursor("bob", cursors[0].as_ref())).await;
    assert_eq!(seen(&frames, &text).len(), usize::from(is_durable), "p2: {point}");
    let answer = way.ask(hub.address, id, &pushes(&text)).await.unwrap();
    let again = way.ask(hub.address, id, &pushes(&text)).await.unwrap();
    assert_eq!(ids(&answer), ids(&again), "{point}");
    way.ask(hub.address, Uuid::now_v7(), &pushes(&mark)).await.unwrap();
    frames.extend(up_to(&mut bob, &mark).await);
    let (mut dave, mut for_dave) = live(hub.address, &with_cursor("dave", cursors[1].as_ref())).await;
    if seen(&for_dave, &mark).is_empty() {
        for_dave.extend(up_to(&mut dave, &mark).await);
    }
    let receipts = ids(&answer);
    assert_eq!(
        (seen(&frames, &text), seen(&for_dave, &text)),
        (vec![receipts[0]], vec![receipts[1]]),
        "{point}"
    );
    assert!(before.iter().all(|id| id == receipts[0]), "p2: with the same id, {point}");
    hub
}

async fn die_everywhere(way: Way) {
    let folder = TempDir::new().unwrap();
    let mut hub = Mortal::start(folder.path());
    // Before its commit nothing of the request is durable.
    let before = ["publish::received"].into_iter().chain(BEFORE_COMMIT).map(|point| (point, false));
    let points: Vec<_> = before.chain(AFTER_COMMIT.map(|point| (point, true))).collect();
    for (point, is_durable) in &points {
        hub = die_at(hub, folder.path(), (way, point), *is_durable).await;
    }
    let database = rusqlite::Connection::open(folder.path().join("synchub.db")).unwrap();
    let rows: i64 = database.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap();
    assert_eq!(
        usize::try_from(rows).unwrap(),
        4 * points.len(),
        "inv2: two pushes of each request, two of each mark"
    );
    drop(hub.child.stdin.take());
    assert!(!hub.died());
}

#[tokio::test]
async fn inv2_p2_a_kill_at_any_point_of_a_publish_pushes_once() {
    die_everywhere(Way::Socket).await;
}

#[tokio::test]
async fn inv2_p2_a_kill_at_any_point_of_a_post_pushes_once() {
    die_everywhere(Way::Post).await;
}
