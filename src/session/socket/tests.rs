//! Messages of all sizes around rebuilds, against a peer of another library's making.

use futures::{SinkExt, StreamExt};
use tokio::net::TcpListener;

use super::*;
use crate::clock::SystemClock;

const LIMIT: usize = 1024 * 1024;
/// How long something may take that happens at once.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// A socket of the hub and its peer.
async fn pair() -> (Socket, WebSocketStream<TcpStream>) {
    pair_in(&ReadPool::new(SystemClock::shared()), LIMIT).await
}

async fn pair_in(pool: &ReadPool, limit: usize) -> (Socket, WebSocketStream<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (io, _) = listener.accept().await.unwrap();
    let mut socket = Socket::new(io, &[], Encoding::MessagePack, limit, pool).await;
    socket.admit();
    (socket, WebSocketStream::from_raw_socket(peer, Role::Client, None).await)
}

/// A message that tells its own size and place.
fn message(n: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at * 31 + n * 7 + size) % 251).unwrap()).collect()
}

/// Sizes around the steps of the wire size and of the buffers, in many orders.
fn sizes(count: usize) -> Vec<usize> {
    const SIZES: [usize; 11] = [3, 124, 65_534, 50, 4094, 20_000, 0, 900_000, 17, 4100, 80_000];
    (0..count).map(|n| SIZES[(n * 7 + n / 11) % SIZES.len()] + n % 5).collect()
}

async fn flush(socket: &mut Socket) {
    while !socket.is_flushed() {
        let _ = futures::poll!(std::pin::pin!(socket.event(false)));
        tokio::task::yield_now().await;
    }
}

/// Sends the first nine megabytes of a message of twelve.
async fn begin_a_message(peer: &mut WebSocketStream<TcpStream>) {
    let mut begun = vec![0; 9_000_000];
    begun[..2].copy_from_slice(&[0x82, 0xff]);
    begun[2..10].copy_from_slice(&12_000_000_u64.to_be_bytes());
    peer.get_mut().write_all(&begun).await.unwrap();
}

#[tokio::test]
async fn inv5_who_has_to_make_room_for_others_goes_though_its_peer_is_silent() {
    let pool = ReadPool::new(SystemClock::shared());
    let (mut first, mut slow) = pair_in(&pool, 12_000_000).await;
    let (mut second, mut other) = pair_in(&pool, 12_000_000).await;
    tokio::select! {
        event = first.event(false) => panic!("{event:?}"),
        () = begin_a_message(&mut slow) => {}
    }
    tokio::select! {
        event = first.event(false) => assert!(matches!(event, Event::Ended(CloseReason::Overloaded)), "{event:?}"),
        event = second.event(false) => panic!("{event:?}"),
        () = async { begin_a_message(&mut other).await; tokio::time::sleep(PATIENCE).await } => panic!("it stays"),
    }
    assert!(futures::poll!(std::pin::pin!(second.event(false))).is_pending(), "it goes on");
}

#[tokio::test]
async fn messages_around_a_rebuild_arrive_whole() {
    let (mut socket, peer) = pair().await;
    let sizes = sizes(400);
    let (mut sink, mut stream) = peer.split();
    let answered = std::cell::Cell::new(0);
    let send = async {
        for (n, size) in sizes.iter().enumerate() {
            if n % 7 == 0 {
                sink.feed(Message::Ping(Bytes::from(vec![1; n % 126]))).await.unwrap();
            }
            sink.feed(Message::Binary(message(n, *size).into())).await.unwrap();
            if n % 5 == 0 || n + 1 == sizes.len() {
                sink.flush().await.unwrap();
            }
            // Now and then both sides are quiet, which is when buffers can be given back.
            while n % 40 == 0 && answered.get() <= n {
                tokio::task::yield_now().await;
            }
        }
    };
    let take = async {
        let (mut taken, mut echoes, mut rebuilt) = (0, 0, 0);
        while taken < sizes.len() || echoes > 0 {
            let swollen = socket.swollen;
            match socket.event(echoes > 0).await {
                Event::Frame(frame) => {
                    assert!(frame == message(taken, sizes[taken]), "message {taken}");
                    taken += 1;
                    echoes += 1;
                }
                Event::Writable => {
                    while echoes > 0 && socket.has_room() {
                        socket.send(Bytes::from(vec![0; 20_000])).unwrap();
                        echoes -= 1;
                    }
                }
                Event::Alive | Event::Answered | Event::Flushed => {}
                event => panic!("{event:?}"),
            }
            rebuilt += usize::from(swollen && !socket.swollen);
        }
        assert!(rebuilt > 0, "the buffers were given back at times");
        flush(&mut socket).await;
    };
    let drain = async {
        let mut echoes = 0;
        while echoes < sizes.len() {
            match stream.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => {
                    echoes += usize::from(bytes.len() == 20_000);
                    answered.set(echoes);
                }
                message => assert!(message.is_pong()),
            }
        }
    };
    tokio::join!(send, take, drain);
}

#[tokio::test]
async fn large_messages_leave_nothing_behind() {
    let (mut socket, mut peer) = pair().await;
    for size in [20_000, 900_000] {
        peer.send(Message::Binary(message(1, size).into())).await.unwrap();
        assert!(matches!(socket.event(false).await, Event::Frame(frame) if frame.len() == size));
        assert!(socket.swollen);
        peer.send(Message::Binary(message(1, 10).into())).await.unwrap();
        assert!(matches!(socket.event(false).await, Event::Frame(frame) if frame.len() == 10));
        assert!(!socket.swollen, "after {size} bytes from the peer");
        assert!(matches!(socket.event(true).await, Event::Writable));
        socket.send(Bytes::from(message(1, size))).unwrap();
        assert!(socket.swollen);
        let (read, ()) = tokio::join!(peer.next(), flush(&mut socket));
        assert_eq!(read.unwrap().unwrap().len(), size);
        peer.send(Message::Binary(message(1, 10).into())).await.unwrap();
        assert!(matches!(socket.event(false).await, Event::Frame(frame) if frame.len() == 10));
        assert!(!socket.swollen, "after {size} bytes to the peer");
    }
    let io = socket.stream.as_ref().unwrap().get_ref();
    assert_eq!(io.read, io.taken);
}

#[tokio::test]
async fn inv5_what_many_small_frames_left_in_the_buffers_goes_when_the_socket_rests() {
    let (mut socket, mut peer) = pair().await;
    let mut sent = 0;
    while socket.has_room() {
        socket.send(Bytes::from(message(sent, 400))).unwrap();
        sent += 1;
    }
    flush(&mut socket).await;
    assert!(!socket.swollen, "it may go on at once");
    socket.rest();
    assert!(socket.swollen);
    let _ = futures::poll!(std::pin::pin!(socket.event(false)));
    assert!(!socket.swollen && !socket.gathered_much);
    socket.writable().await.unwrap();
    socket.send(Bytes::from(message(sent, 400))).unwrap();
    flush(&mut socket).await;
    for n in 0..=sent {
        assert_eq!(peer.next().await.unwrap().unwrap().into_data(), message(n, 400));
    }
    socket.rest();
    assert!(!socket.swollen, "there is nothing to give back");
}
