//! Each rule of tidiness, broken in a sample text: a check that cannot fail holds nothing.

use super::code::Source;
use super::{
    check_back_ends, check_domain_names, check_header_and_size, check_layers, check_model,
    check_socket_library,
};

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn domains() -> Vec<String> {
    vec!["ticket".to_owned(), "task".to_owned()]
}

#[test]
fn a_file_without_header_or_too_long_is_found() {
    assert!(check_header_and_size(&source("src/a.rs", "//! What for.\nfn a() {}\n")).is_empty());
    assert_eq!(check_header_and_size(&source("src/a.rs", "fn a() {}\n")).len(), 1);
    let long = "//! What for.\n".to_owned() + &"\n".repeat(400);
    assert_eq!(check_header_and_size(&source("src/a.rs", &long)).len(), 1);
    assert!(check_header_and_size(&source("src/a.rs", &long[1..])).len() == 2);
}

#[test]
fn a_use_of_a_higher_rank_is_found() {
    for text in [
        "use crate::session::Session;",
        "use crate::{bus::Bus, session};",
        "use crate::{\n    bus::{Bus, local::{A, B}},\n    session::{self, live},\n};",
        "pub use crate::session;",
        "fn a() { crate::session::serve(); }",
        "fn a(b: &crate :: session :: Link) {}",
        "use crate::push as p;",
        "use crate::sync;",
        "const C: char = '\"'; use crate::session::A; // '\"'",
        "fn a<'a>(b: &'a str) -> char { crate::session::a('\\'', '{') }",
        "const S: &str = r#\"a \" b\"#; use crate::session::A;",
        "#[cfg(test)]\nmod tests { fn a() {} }\nuse crate::session::A;",
        "use crate::unheard_of::A;",
    ] {
        let faults = check_layers(&source("src/sync/mod.rs", text));
        let own = usize::from(text != "use crate::sync;");
        assert_eq!(faults.len(), own, "{text}: {faults:?}");
    }
    assert_eq!(check_layers(&source("src/sync/a.rs", "use crate::{session, push};")).len(), 2);
    assert_eq!(check_layers(&source("src/bus/a.rs", "use crate::store::Store;")).len(), 1, "equal ranks");
    assert_eq!(check_layers(&source("src/main.rs", "fn main() { synchub::cli::main() }")), [""; 0]);
    assert_eq!(check_layers(&source("src/drawer.rs", "")).len(), 1, "a module without a rank");
}

#[test]
fn what_only_looks_like_a_use_is_not_found() {
    for text in [
        "use crate::store::{Store, session};",
        "// use crate::session::A;",
        "/* use crate::session::A; */",
        "const S: &str = \"use crate::session::A;\";",
        "const S: &str = r#\"\"use crate::session::A;\"#;",
        "const S: &str = \"\\\"use crate::session::A;\";",
        "pub(crate) fn session() {}",
        "use synchub_protocol::session::A;",
        "#[cfg(test)]\nmod tests { use crate::session::A; fn a() { if true {} } }",
        "#[cfg(test)]\nuse crate::session::A;",
    ] {
        assert_eq!(check_layers(&source("src/sync/mod.rs", text)), [""; 0], "{text}");
    }
    assert_eq!(check_layers(&source("src/sync/tests.rs", "use crate::session::A;")), [""; 0]);
    assert_eq!(check_layers(&source("rules/src/lib.rs", "use crate::session::A;")), [""; 0]);
}

#[test]
fn a_back_end_named_outside_app_is_found() {
    for (path, text) in [
        ("src/sync/mod.rs", "use crate::store::sqlite::SqliteStore;"),
        ("src/sync/mod.rs", "use crate::{store::{Store, sqlite}, bus};"),
        ("src/push/feed.rs", "use crate::bus::local::LocalBus;"),
        ("src/push/feed.rs", "fn a() { crate::bus::local::LocalBus::new() }"),
        ("src/store/mod.rs", "pub mod sqlite; pub use sqlite::SqliteStore;"),
        ("src/store/mod.rs", "pub use self::sqlite::SqliteStore;"),
        ("src/store/contract.rs", "use super::{Store, sqlite};"),
        ("src/bus/other.rs", "use super::local::LocalBus;"),
        ("src/store/mod.rs", "fn a(row: &rusqlite::Row) {}"),
        ("src/cli/show.rs", "use sqlx::Row;"),
        ("src/main.rs", "fn main() { synchub::store::sqlite::open() }"),
    ] {
        assert_eq!(check_back_ends(&source(path, text)).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("src/app/open.rs", "use crate::store::sqlite::SqliteStore; use crate::bus::local::LocalBus;"),
        ("src/store/sqlite/reader.rs", "use rusqlite::Row; use crate::store::sqlite::fault;"),
        ("src/bus/local.rs", "pub struct LocalBus;"),
        ("src/bus/local/mod.rs", "use super::local::A;"),
        ("src/store/mod.rs", "pub mod sqlite;"),
        ("src/config/store_url.rs", "fn sqlite() { let local = \"sqlite:\"; }"),
        ("src/sync/mod.rs", "fn a() { tokio::task::spawn_local(local); Foo::local() }"),
        ("rules/src/lib.rs", "use sqlx::Row;"),
    ] {
        assert_eq!(check_back_ends(&source(path, text)), [""; 0], "{path}: {text}");
    }
}

#[test]
fn the_socket_library_named_elsewhere_is_found() {
    let text = "use tokio_tungstenite::tungstenite::Message;";
    assert_eq!(check_socket_library(&source("src/session/live.rs", text)).len(), 1);
    assert_eq!(
        check_socket_library(&source("src/session/live.rs", "fn a(m: tungstenite::Message) {}")).len(),
        1
    );
    for path in ["src/session/socket/mod.rs", "src/http/upgrade.rs", "clients/rust/src/socket.rs"] {
        assert_eq!(check_socket_library(&source(path, text)), [""; 0], "{path}");
    }
    assert_eq!(check_socket_library(&source("src/session/live.rs", "// tungstenite")), [""; 0]);
}

#[test]
fn inv8_a_domain_named_in_code_is_found() {
    for text in ["const A: &str = \"ticket\";", "match a { r\"task\" => 1 }", "f(b\"ticket\", r#\"x\"#)"] {
        for path in ["src/sync/mod.rs", "rules/src/domain/mod.rs"] {
            assert_eq!(check_domain_names(&source(path, text), &domains()).len(), 1, "{path}: {text}");
        }
        for path in ["rules/src/domain/tests/mod.rs", "src/sync/tests.rs", "loadtest/src/main.rs"] {
            assert_eq!(check_domain_names(&source(path, text), &domains()), [""; 0], "{path}: {text}");
        }
    }
    for text in [
        "const A: &str = \"tickets\";",
        "// \"ticket\"",
        "fn ticket() {}",
        "#[cfg(test)]\nmod a { const A: &str = \"task\"; }",
    ] {
        assert_eq!(check_domain_names(&source("src/sync/mod.rs", text), &domains()), [""; 0], "{text}");
    }
}

#[test]
fn a_model_that_asks_the_engine_is_found() {
    for text in ["use synchub_rules::plan;", "fn a() { synchub_rules::plan::plan(); }", "use synchub::store;"]
    {
        assert_eq!(check_model(&source("tests/histories/model/a.rs", text)).len(), 1, "{text}");
    }
    assert!(
        check_model(&source("tests/histories/model/a.rs", "use synchub_protocol::Timestamp;")).is_empty()
    );
}
