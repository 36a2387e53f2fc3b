//! Keys of tokens beyond the hub's own secret: algorithms, sets of keys, and what the page says of them.

mod algorithms;
mod keys;
mod page;
mod rotation;
mod sockets;
