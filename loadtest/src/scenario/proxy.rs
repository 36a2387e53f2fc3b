//! A TCP proxy between devices and the hub that behaves like a poor network: it delays, it is narrow, and it
//! breaks connections without a word. What comes through is never changed.
//!
//! It is clear until the load begins and when the load is over, so that devices start and end whole.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::chance::Chance;

/// The most that is read at once, in bytes.
const CHUNK: usize = 4096;
/// How many chunks are on their way at most, in each direction.
const UNDER_WAY: usize = 64;
/// A narrow connection moves what it carries in this part of a second as one piece.
const PIECES: usize = 10;
/// The receive buffers of the system, in bytes: they must not read in the place of a slow device.
const SYSTEM_BUFFER: u32 = 4096;

/// What the network does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Weather {
    /// How long each way takes on average.
    pub(crate) delay: Duration,
    /// How long a connection holds on average.
    pub(crate) breaks_after: Option<Duration>,
    /// Bytes a second to the device.
    pub(crate) down: Option<u32>,
    /// Bytes a second to the hub.
    pub(crate) up: Option<u32>,
}

/// A running proxy; dropping it ends it and its connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    poor: watch::Sender<bool>,
    _stop: DropGuard,
}

/// What all connections share.
struct Shared {
    hub: String,
    weather: Weather,
    chance: Chance,
    poor: watch::Receiver<bool>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Proxy {
    /// Listens for devices of the hub at `url`. It is clear at first.
    pub(crate) async fn start(url: &str, weather: Weather, seed: u64) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for the network")?;
        let (is_poor, poor) = watch::channel(false);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            hub: authority(url).to_owned(),
            weather,
            chance: Chance::new(seed),
            poor,
            stop: stop.clone(),
            tasks: TaskTracker::new(),
        });
        let address = listener.local_addr()?;
        let (accepting, stopped) = (accept(listener, Arc::clone(&shared)), stop.clone());
        shared.tasks.spawn(async move { stopped.run_until_cancelled(accepting).await });
        Ok(Self { address, poor: is_poor, _stop: stop.drop_guard() })
    }

    /// The hub's address through the proxy.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replacen(authority(url), &self.address.to_string(), 1)
    }

    /// Turns the weather on or off.
    pub(crate) fn set_poor(&self, poor: bool) {
        self.poor.send_replace(poor);
    }
}

fn authority(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default()
}

/// Takes connections on and on.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // A device that could not be accepted comes again by itself.
        let Ok((device, _)) = listener.accept().await else { continue };
        let of_connection = Arc::clone(&shared);
        let stop = shared.stop.clone();
        shared.tasks.spawn(async move { stop.run_until_cancelled(carry(device, of_connection)).await });
    }
}

/// Carries one connection until either side ends it, or the network breaks it. Both sockets are dropped then.
async fn carry(device: TcpStream, shared: Arc<Shared>) {
    let Ok(hub) = connect(&shared.hub).await else { return };
    let no_delays = device.set_nodelay(true).and(hub.set_nodelay(true));
    if no_delays.is_err() {
        return;
    }
    let (weather, (from_device, to_device)) = (shared.weather, device.into_split());
    let (from_hub, to_hub) = hub.into_split();
    tokio::select! {
        () = pump(from_device, to_hub, weather.up, &shared) => {}
        () = pump(from_hub, to_device, weather.down, &shared) => {}
        () = breaks(&shared) => {}
    }
}

async fn connect(hub: &str) -> std::io::Result<TcpStream> {
    let address = lookup_host(hub).await?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(SYSTEM_BUFFER)?;
    socket.connect(address).await
}

/// Ends after a time that is as random as those of real losses, counted while the weather is poor.
async fn breaks(shared: &Shared) {
    let Some(mean) = shared.weather.breaks_after else { return std::future::pending().await };
    let mut poor = shared.poor.clone();
    let life = mean.mul_f64(-(1.0 - shared.chance.part()).ln());
    loop {
        // The sender lives as long as the proxy; without it the connection ends anyway.
        if poor.wait_for(|poor| *poor).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(life) => return,
            _ = poor.wait_for(|poor| !*poor) => {}
        }
    }
}

/// Moves bytes one way: each chunk is on its way for a while, and no more are moved than fit.
async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    width: Option<u32>,
    shared: &Shared,
) {
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let piece = width.map_or(CHUNK, |width| (width as usize / PIECES).clamp(1, CHUNK));
    let read = async move {
        loop {
            let mut chunk = vec![0; piece];
            match from.read(&mut chunk).await {
                Ok(count) if count > 0 => chunk.truncate(count),
                _ => return,
            }
            let delay = shared.weather.delay.mul_f64(0.5 + shared.chance.part());
            if sender.send((Instant::now() + delay, chunk)).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        let mut free = Instant::now();
        while let Some((due, chunk)) = under_way.recv().await {
            wait(due.max(free), shared).await;
            if to.write_all(&chunk).await.is_err() {
                return;
            }
            free = Instant::now() + width.map_or(Duration::ZERO, |width| time_of(chunk.len(), width));
        }
    };
    // When nothing more is read, what is on its way still arrives.
    tokio::select! {
        () = write => {}
        () = async { read.await; std::future::pending().await } => {}
    }
}

fn time_of(bytes: usize, width: u32) -> Duration {
    Duration::from_secs_f64(u32::try_from(bytes).map_or(1.0, f64::from) / f64::from(width))
}

/// Waits for an instant as long as the weather is poor.
async fn wait(until: Instant, shared: &Shared) {
    let mut poor = shared.poor.clone();
    tokio::select! {
        () = sleep_until(until) => {}
        // It may also have ended: then nothing has to be waited for either.
        _ = poor.wait_for(|poor| !*poor) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hub that says everything again, and a device of it behind a network.
    async fn through(weather: Weather) -> (Proxy, TcpStream, TaskTracker) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let tasks = TaskTracker::new();
        tasks.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut from, mut to) = stream.split();
            // How the other side ends does not matter.
            drop(tokio::io::copy(&mut from, &mut to).await);
        });
        let proxy = Proxy::start(&url, weather, 1).await.unwrap();
        let device = TcpStream::connect(authority(&proxy.url(&url))).await.unwrap();
        (proxy, device, tasks)
    }

    async fn echo(device: &mut TcpStream, bytes: usize) -> Option<Duration> {
        let (sent, started): (Vec<u8>, _) =
            ((0..bytes).map(|byte| byte.to_le_bytes()[0]).collect(), Instant::now());
        let (mut from, mut to) = device.split();
        let mut came = vec![0; bytes];
        let (written, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut came));
        (written.is_ok() && read.is_ok() && came == sent).then(|| started.elapsed())
    }

    #[tokio::test]
    async fn it_is_clear_at_first_and_when_it_is_over_and_nothing_is_changed() {
        let weather = Weather { delay: Duration::from_hours(1), ..Weather::default() };
        let (proxy, mut device, _tasks) = through(weather).await;
        assert!(echo(&mut device, 100_000).await.is_some());
        proxy.set_poor(true);
        let late = tokio::time::timeout(Duration::from_millis(50), echo(&mut device, 10)).await;
        assert!(late.is_err());
        proxy.set_poor(false);
        let mut rest = [0; 10];
        device.read_exact(&mut rest).await.unwrap();
        assert!(echo(&mut device, 100_000).await.is_some());
    }

    #[tokio::test]
    async fn a_narrow_network_takes_its_time_and_a_delay_counts_both_ways() {
        let (proxy, mut device, _tasks) = through(Weather { down: Some(10_000), ..Weather::default() }).await;
        proxy.set_poor(true);
        assert!(echo(&mut device, 3000).await.unwrap() >= Duration::from_millis(150));
        let delay = Duration::from_millis(40);
        let (proxy, mut device, _tasks) = through(Weather { delay, ..Weather::default() }).await;
        proxy.set_poor(true);
        assert!(echo(&mut device, 1).await.unwrap() >= delay);
    }

    #[tokio::test]
    async fn connections_break_while_the_weather_is_poor() {
        let breaks_after = Some(Duration::from_millis(1));
        let (proxy, mut device, _tasks) = through(Weather { breaks_after, ..Weather::default() }).await;
        assert!(echo(&mut device, 10).await.is_some());
        proxy.set_poor(true);
        let mut end = [0; 1];
        let ended = tokio::time::timeout(Duration::from_secs(30), device.read(&mut end)).await;
        assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
    }
}
