//! Sessions over real sockets, in raw frames.

mod basics;
mod batches;
mod c10_acks;
mod c11_takeover;
mod c1_cursors;
mod c2_positions;
mod c3_hello;
mod c3_subscribe;
mod c4_snapshots;
mod c5_replays;
mod c8_large;
mod c8_slow;
mod c9_held;
mod carrier;
mod compression;
mod d3_retention;
mod drain;
mod en13_digests;
mod heartbeats;
mod hostile;
mod http;
mod renewals;
mod requests;
mod sizes;
mod stress;
mod tokens;
