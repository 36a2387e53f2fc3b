//! What the hub says of itself: its numbers, its log, its traces, and the pages and files that tell of them.

mod board;
mod collector;
mod exposition;
mod lines;
mod log_lines;
mod numbers;
mod page;
mod promql;
mod secrets;
mod traces;
