//! The order of sources, what errors say, and that table, settings and reference page agree.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::*;

fn load_from(file: Option<&str>, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
    }
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
    load(&Sources { file: file.map(|_| path), environment, flags: Vec::new() })
}

fn error_of(file: Option<&str>, environment: &[(&str, &str)]) -> String {
    load_from(file, environment).unwrap_err().to_string()
}

/// The keys and values of the settings as they are written, with `null` for what is not set.
fn flat(settings: &Settings) -> BTreeMap<String, serde_json::Value> {
    let serde_json::Value::Object(top) = serde_json::to_value(settings).unwrap() else { panic!() };
    let mut all = BTreeMap::new();
    for (key, value) in top {
        match value {
            serde_json::Value::Object(section) => {
                all.extend(section.into_iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            value => drop(all.insert(key, value)),
        }
    }
    all
}

#[test]
fn without_any_source_the_defaults_hold() {
    let loaded = load_from(None, &[("PATH", "/bin"), ("SYNCHUB_CONFIG", "elsewhere")]).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn file_then_environment_then_flags() {
    let file = "listen = '127.0.0.1:1'\n[limits]\nmax_in_flight = 1\nheartbeat_secs = 11";
    let mut sources = Sources {
        environment: vec![
            ("SYNCHUB_LISTEN".to_owned(), "127.0.0.1:2".into()),
            ("SYNCHUB_LIMITS_MAX_IN_FLIGHT".to_owned(), "2".into()),
        ],
        flags: vec![("listen", "--listen", "127.0.0.1:3".to_owned())],
        ..Sources::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.toml");
    std::fs::write(&path, file).unwrap();
    sources.file = Some(path);
    let settings = load(&sources).unwrap().settings;
    assert_eq!(settings.listen.port(), 3);
    assert_eq!((settings.limits.max_in_flight, settings.limits.heartbeat_secs), (2, 11));
    sources.flags.clear();
    assert_eq!(load(&sources).unwrap().settings.listen.port(), 2);
    sources.environment.clear();
    assert_eq!(load(&sources).unwrap().settings.listen.port(), 1);
}

#[test]
fn an_unknown_key_is_named_with_what_would_be_right() {
    let text = error_of(Some("[limits]\nmax_frame = 5"), &[]);
    assert!(text.contains("unknown key `limits.max_frame` in /"), "{text}");
    assert!(text.contains("hub.toml") && text.contains("`limits.max_frame_bytes`"), "{text}");
    assert!(!text.contains("`listen`"), "{text}");
    for (file, key) in [
        ("port = 1", "`port`"),
        ("[server]\nport = 1", "`server`"),
        ("[server]", "`server`"),
        ("listen = { port = 1 }", "`listen.port`"),
        ("[limits.more]\na = 1", "`limits.more`"),
    ] {
        let text = error_of(Some(file), &[]);
        let named = format!("unknown key {key}");
        assert!(text.contains(&named) || text.contains("`listen`"), "{file}: {text}");
    }
    assert!(error_of(Some("limits = 5"), &[]).contains("write `[limits]`"));
}

#[test]
fn a_bad_value_is_named_with_its_place() {
    for (file, environment, parts) in [
        (Some("[limits]\nmax_in_flight = 'many'"), None, ["`limits.max_in_flight`", "hub.toml"]),
        (Some("[limits]\nmax_in_flight = 1.9"), None, ["`limits.max_in_flight`", "whole number"]),
        (Some("[limits]\nmax_in_flight = -1"), None, ["`limits.max_in_flight`", "hub.toml"]),
        (Some("[log]\nformat = 'xml'"), None, ["xml", "`text`"]),
        (None, Some(("SYNCHUB_LIMITS_MAX_IN_FLIGHT", "many")), ["`limits.max_in_flight`", "SYNCHUB_LIMITS"]),
        (None, Some(("SYNCHUB_LISTEN", "localhost:1")), ["SYNCHUB_LISTEN", "127.0.0.1:8480"]),
        (None, Some(("SYNCHUB_FEED_POSITION_MS", "2000")), ["`feed.position_ms`", "1000"]),
        (None, Some(("SYNCHUB_STORE_URL", "postgres://db/hub")), ["`store.url`", "SQLite"]),
        (None, Some(("SYNCHUB_BUS_URL", "redis://bus")), ["`bus.url`", "leave"]),
    ] {
        let text = error_of(file, environment.as_slice());
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn a_syntax_error_names_the_line_and_shows_none() {
    let text = error_of(Some("listen = '127.0.0.1:1'\n[auth]\nhs256_secret = 'hunter2\n"), &[]);
    assert!(text.contains("line 3") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_missing_file_is_named() {
    let sources = Sources { file: Some("/no/such/hub.toml".into()), ..Sources::default() };
    assert!(load(&sources).unwrap_err().to_string().contains("/no/such/hub.toml"));
}

#[test]
fn an_unknown_variable_is_a_warning_and_an_empty_one_is_not_set() {
    let loaded = load_from(None, &[("SYNCHUB_LISTNE", "hunter2"), ("SYNCHUB_BUS_URL", "")]).unwrap();
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert!(warning.contains("SYNCHUB_LISTNE") && !warning.contains("hunter2"), "{warning}");
    assert_eq!(loaded.settings, Settings::default());
}

#[test]
fn a_short_key_is_a_warning() {
    let warnings = |key| load_from(None, &[("SYNCHUB_AUTH_HS256_SECRET", key)]).unwrap().warnings.len();
    assert_eq!(warnings("0123456789012345678901234567890"), 1);
    assert_eq!(warnings("01234567890123456789012345678901"), 0);
}

#[test]
fn public_keys_stand_in_the_file_or_as_json_in_the_environment() {
    let file = "[[auth.keys]]\nalgorithm = 'RS256'\nkid = 'a'\nfile = 'a.pem'\n\
                [[auth.keys]]\nalgorithm = 'EdDSA'\npem = 'text'";
    let from_file = load_from(Some(file), &[]).unwrap().settings.auth.keys;
    let json = r#"[{"algorithm":"RS256","kid":"a","file":"a.pem"},{"algorithm":"EdDSA","pem":"text"}]"#;
    let settings = load_from(None, &[("SYNCHUB_AUTH_KEYS", json)]).unwrap().settings;
    assert_eq!(settings.auth.keys, from_file);
    assert_eq!((from_file.len(), from_file[1].algorithm), (2, KeyAlgorithm::EdDSA));
    let written = settings.to_toml().unwrap();
    assert_eq!(load_from(Some(&written), &[]).unwrap().settings, settings, "{written}");

    for (json, part) in [
        (r#"[{"algorithm":"HS256","pem":"text"}]"#, "`auth.hs256_secret`"),
        (r#"[{"algorithm":"none","pem":"text"}]"#, "RS256, ES256 or EdDSA"),
        (r#"[{"algorithm":"RS256","path":"a.pem"}]"#, "`path`"),
        (r#"[{"pem":"hunter2"}]"#, "`algorithm`"),
        ("a.pem", "JSON list"),
        (
            r#"[{"algorithm":"RS256","pem":"-----BEGIN PRIVATE KEY----- hunter2"}]"#,
            "`auth.keys[0]` holds a private",
        ),
    ] {
        let text = error_of(None, &[("SYNCHUB_AUTH_KEYS", json)]);
        assert!(text.contains(part) && !text.contains("hunter2"), "{text}");
    }
    let text = error_of(Some("[[auth.keys]]\nalgorithm = 'RS256'\nfiel = 'a'"), &[]);
    assert!(text.contains("fiel") && text.contains("hub.toml"), "{text}");
}

#[test]
fn rates_of_tenants_stand_in_the_file_or_as_json_in_the_environment() {
    let file = "[rates]\ndevice_frames = 7\n[rates.tenants.Acme]\ndevice_frames = 5\ntenant_bytes = 0";
    let settings = load_from(Some(file), &[]).unwrap().settings;
    let rates = &settings.rates;
    assert_eq!(
        ["Acme", "acme"].map(|tenant| rates.of(tenant, RateName::DeviceFrames)),
        [5, 7],
        "names of tenants keep their letters"
    );
    assert_eq!((rates.of("Acme", RateName::TenantBytes), rates.of("Acme", RateName::UserFrames)), (0, 2000));
    let written = settings.to_toml().unwrap();
    assert_eq!(load_from(Some(&written), &[]).unwrap().settings, settings, "{written}");
    let json = r#"{"Acme":{"device_frames":5,"tenant_bytes":0}}"#;
    let other = load_from(None, &[("SYNCHUB_RATES_TENANTS", json)]).unwrap().settings;
    assert_eq!(other.rates.tenants, settings.rates.tenants);

    let text = error_of(Some("[rates.tenants.acme]\naddress_hellos = 5"), &[]);
    assert!(text.contains("`address_hellos`") && text.contains("`rates.tenants"), "{text}");
    assert!(error_of(None, &[("SYNCHUB_RATES_TENANTS", "acme")]).contains("JSON"));
    assert!(error_of(None, &[("SYNCHUB_RATES_PROXIES", "localhost")]).contains("`rates.proxies`"));
}

#[test]
fn secrets_are_never_shown() {
    let headers = ("SYNCHUB_TRACE_HEADERS", r#"{"x-key":"hunter2"}"#);
    let file = "[trace.headers]\nX-Key = 'hunter2'";
    let loaded = load_from(Some(file), &[("SYNCHUB_AUTH_HS256_SECRET", "hunter2"), headers]).unwrap();
    assert_eq!(loaded.settings.trace.headers["x-key"].expose(), "hunter2");
    assert!(!error_of(None, &[("SYNCHUB_TRACE_HEADERS", "x-key=hunter2")]).contains("hunter2"));
    assert_eq!(loaded.settings.auth.hs256_secret.as_ref().unwrap().expose(), "hunter2");
    let written = loaded.settings.to_toml().unwrap();
    assert!(written.contains("hs256_secret = \"***\""), "{written}");
    for shown in [format!("{loaded:?}"), format!("{:#?}", loaded.settings), written] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn what_is_written_down_reads_back_the_same() {
    let mut settings = Settings::default();
    settings.limits.max_in_flight = 9;
    settings.log.format = LogFormat::Json;
    let written = settings.to_toml().unwrap();
    assert!(
        written.starts_with("# not set: domains_dir, store.url, bus.url, auth.hs256_secret"),
        "{written}"
    );
    assert_eq!(load_from(Some(&written), &[]).unwrap().settings, settings);
}

#[test]
fn every_variable_sets_its_own_setting() {
    let defaults = flat(&Settings::default());
    for name in NAMES {
        let value = match (name.key, &defaults[name.key]) {
            ("bus.url", _) => continue,
            ("listen", _) => "127.0.0.1:9".to_owned(),
            ("store.url", _) => "sqlite:elsewhere.db".to_owned(),
            ("auth.keys", _) => r#"[{"algorithm": "ES256", "file": "key.pem"}]"#.to_owned(),
            ("rates.proxies", _) => "10.0.0.1".to_owned(),
            ("rates.tenants", _) => r#"{"acme": {"device_frames": 5}}"#.to_owned(),
            // 0 is no limit here.
            ("rates.tenant_connections", _) => "7".to_owned(),
            ("trace.endpoint", _) => "http://collector:4318".to_owned(),
            ("trace.headers", _) => r#"{"x-key": "secret"}"#.to_owned(),
            ("log.format", _) => "json".to_owned(),
            ("log.level", _) => "debug".to_owned(),
            // 24 are promised to clients.
            ("retention.batch_hours", _) => "25".to_owned(),
            (_, serde_json::Value::Bool(flag)) => (!flag).to_string(),
            (_, serde_json::Value::Number(number)) => (number.as_u64().unwrap() - 1).to_string(),
            _ => "something".to_owned(),
        };
        let loaded = load_from(None, &[(name.variable, &value)]);
        let settings = flat(&loaded.unwrap_or_else(|error| panic!("{}: {error}", name.variable)).settings);
        let changed: Vec<_> = settings.keys().filter(|key| settings[*key] != defaults[*key]).collect();
        assert_eq!(changed, [name.key], "{}", name.variable);
    }
}

#[test]
fn settings_table_and_page_agree() {
    let defaults = flat(&Settings::default());
    let table: BTreeMap<_, _> = NAMES.iter().map(|name| (name.key.to_owned(), name.variable)).collect();
    assert!(defaults.keys().eq(table.keys()), "the settings and the table of names differ");

    let page = include_str!("../../docs/configuration.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let on_page: Vec<_> = rows.iter().map(|row| row[1]).collect();
    assert_eq!(on_page, NAMES.map(|name| name.key), "the page must list every setting once, in this order");
    for row in &rows {
        let default = match &defaults[row[1]] {
            serde_json::Value::Null => "—".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert_eq!((row[2], row[3]), (table[row[1]], default.as_str()), "{}", row[1]);
        assert!(row[4].len() > 10, "{} has no meaning", row[1]);
    }
}
