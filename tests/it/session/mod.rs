//! Sessions over real sockets, in raw frames.

mod basics;
