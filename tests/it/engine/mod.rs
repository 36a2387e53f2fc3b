//! The engine over sockets: what becomes of entries, once and for all, alone and in groups.

mod groups;
