//! Whole commands with a made environment, and what they print.

use clap::CommandFactory;

use super::*;
use crate::auth::{Role, Verifier, load_or_make_dev_key};
use crate::clock::ManualClock;
use crate::config::{AuthSettings, Secret};
use crate::entropy::SeededEntropy;

const NOW_US: i64 = 1_700_000_000_000_000;
const KEY: &str = "a key that is long enough for HS256";

struct Ran {
    outcome: Result<(), Failure>,
    out: String,
    err: String,
}

impl Ran {
    /// The text of a failure that ends with code 2.
    fn usage(self) -> String {
        match self.outcome {
            Err(Failure::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }
}

fn run_with(environment: &[(&str, &str)], args: &[&str]) -> Ran {
    let cli = Cli::try_parse_from([&["synchub"], args].concat()).unwrap_or_else(|error| panic!("{error}"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut surroundings = Surroundings {
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect(),
        clock: ManualClock::at(NOW_US),
        entropy: SeededEntropy::new(1),
        out: &mut out,
        err: &mut err,
    };
    let outcome = run(cli, &mut surroundings);
    Ran { outcome, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn auth(key: &str) -> AuthSettings {
    AuthSettings { hs256_secret: Some(Secret::new(key)), ..AuthSettings::default() }
}

const TOKEN: [&str; 7] = ["token", "--tenant", "t1", "--user", "u1", "--role", "device"];

#[test]
fn the_arguments_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_token_is_good_with_the_configured_key() {
    let args = [&TOKEN[..], &["--device", "d1", "--unit", "b1", "--ttl", "2m", "--domains", "a,b"]].concat();
    let ran = run_with(&[("SYNCHUB_AUTH_HS256_SECRET", KEY)], &args);
    ran.outcome.unwrap();
    let identity = Verifier::new(&auth(KEY)).unwrap().verify_at_once(ran.out.trim_end(), NOW_US).unwrap();
    assert_eq!((identity.tenant.as_str(), identity.user.as_str(), identity.role), ("t1", "u1", Role::Device));
    assert_eq!((identity.device.as_deref(), identity.unit.as_deref()), (Some("d1"), Some("b1")));
    assert_eq!(identity.domains, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(identity.expires_us, NOW_US + 120_000_000);
    assert_eq!((ran.out.lines().count(), ran.err.as_str()), (1, ""));
}

#[test]
fn a_token_takes_the_key_of_the_data_folder_where_none_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let args = [&TOKEN[..], &["--data-dir", data_dir]].concat();
    let text = run_with(&[], &args).usage();
    assert!(text.contains("signing-key") && text.contains("SYNCHUB_AUTH_HS256_SECRET"), "{text}");

    let key = load_or_make_dev_key(folder.path(), &*SeededEntropy::new(5)).unwrap();
    let ran = run_with(&[], &args);
    let token = ran.out.lines().next_back().unwrap();
    assert!(Verifier::new(&auth(key.expose())).unwrap().verify_at_once(token, NOW_US).is_ok());
    let ran = run_with(&[("SYNCHUB_AUTH_HS256_SECRET", KEY)], &args);
    assert!(Verifier::new(&auth(KEY)).unwrap().verify_at_once(ran.out.trim_end(), NOW_US).is_ok());
}

#[test]
fn what_no_token_can_say_is_refused() {
    let env = [("SYNCHUB_AUTH_HS256_SECRET", KEY)];
    assert!(
        run_with(&env, &["token", "--tenant", "", "--user", "u", "--role", "device"])
            .usage()
            .contains("empty")
    );
    for args in [
        &["token", "--tenant", "t", "--user", "u", "--role", "admin"][..],
        &["token", "--tenant", "t", "--user", "u"],
        &[&TOKEN[..], &["--ttl", "0s"]].concat(),
        &[&TOKEN[..], &["--ttl", "soon"]].concat(),
        &["show", "record", "--tenant", "t", "--domain", "d", "--id", "7"],
        &["show", "log", "--tenant", "t", "--limit", "0"],
        &[],
    ] {
        let error = Cli::try_parse_from([&["synchub"], args].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{args:?}");
    }
}

#[test]
fn check_config_shows_what_is_in_effect_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.toml");
    std::fs::write(&path, "[limits]\nmax_in_flight = 7\n[auth]\nhs256_secret = 'hunter2'").unwrap();
    let ran = run_with(
        &[("SYNCHUB_CONFIG", path.to_str().unwrap()), ("SYNCHUB_LISTNE", "x")],
        &["check-config", "--data-dir", "/srv/hub"],
    );
    ran.outcome.unwrap();
    for part in ["max_in_flight = 7", "hs256_secret = \"***\"", "url = \"sqlite:/srv/hub/synchub.db\""] {
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
    assert!(ran.err.contains("SYNCHUB_LISTNE") && ran.err.contains("shorter than 32"), "{}", ran.err);
    assert!(!ran.out.contains("hunter2") && !ran.err.contains("hunter2"));
    assert!(run_with(&[], &["check-config"]).err.contains("--dev"));
}

#[test]
fn the_config_flag_goes_before_its_variable() {
    let text =
        run_with(&[("SYNCHUB_CONFIG", "/no/a.toml")], &["check-config", "--config", "/no/b.toml"]).usage();
    assert!(text.contains("/no/b.toml"), "{text}");
    assert!(run_with(&[("SYNCHUB_CONFIG", "")], &["check-config"]).outcome.is_ok());
}

#[test]
fn serve_without_a_key_says_what_to_set_and_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let text = run_with(&[], &["serve", "--data-dir", folder.path().to_str().unwrap()]).usage();
    assert!(text.contains("SYNCHUB_AUTH_HS256_SECRET") && text.contains("--dev"), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_generated_key_never_leaves_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let settings = |listen: &str| Settings {
        listen: listen.parse().unwrap(),
        data_dir: folder.path().to_owned(),
        ..Settings::default()
    };
    let entropy = SeededEntropy::new(1);
    for listen in ["0.0.0.0:8480", "192.168.1.5:8480", "[::]:8480"] {
        let Err(Failure::Usage(text)) = serve::with_key(settings(listen), true, &*entropy) else { panic!() };
        assert!(text.contains(listen) && text.contains("127.0.0.1:8480"), "{text}");
        let configured = Settings { auth: auth(KEY), ..settings(listen) };
        assert!(serve::with_key(configured, true, &*entropy).is_ok());
    }
    assert!(!folder.path().join("signing-key").exists());
    for listen in ["127.0.0.1:0", "127.3.2.1:8480", "[::1]:8480"] {
        let settings = serve::with_key(settings(listen), true, &*entropy).unwrap();
        assert_eq!(settings.auth.hs256_secret.unwrap().expose().len(), 43);
    }
}

#[test]
fn dev_prints_a_token_alone_and_a_line_to_try() {
    let settings =
        Settings { listen: "0.0.0.0:9000".parse().unwrap(), auth: auth(KEY), ..Settings::default() };
    let text = serve::greeting(&settings, NOW_US).unwrap();
    let verifier = Verifier::new(&settings.auth).unwrap();
    let tokens: Vec<_> = text.lines().filter_map(|line| verifier.verify_at_once(line, NOW_US).ok()).collect();
    let [identity] = tokens.as_slice() else { panic!("{text}") };
    assert_eq!((identity.role, identity.device.as_deref()), (Role::Device, None));
    assert!(text.contains("node -e 'const s = new WebSocket(\"ws://127.0.0.1:9000/ws\""), "{text}");
    assert_eq!(text.matches('\'').count(), 2, "the line must survive the shell: {text}");
}

#[test]
fn exit_codes_tell_wrong_use_from_failure() {
    let mut err = Vec::new();
    let mut code = |outcome| format!("{:?}", outcome::report(outcome, &mut err));
    let expected = [0_u8, 2, 1].map(|code| format!("{:?}", ExitCode::from(code)));
    let failure = anyhow::anyhow!("no space").context("cannot commit");
    assert_eq!(
        [code(Ok(())), code(Err(Failure::Usage("bad flag".to_owned()))), code(Err(failure.into()))],
        expected
    );
    assert_eq!(String::from_utf8(err).unwrap(), "synchub: bad flag\nsynchub: cannot commit: no space\n");
}

#[test]
fn public_keys_are_checked_and_are_keys_enough() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let set = folder.path().join("jwks.json");
    std::fs::write(&set, "{\"keys\": []}").unwrap();
    let env = [("SYNCHUB_AUTH_JWKS_FILE", set.to_str().unwrap())];
    let ran = run_with(&env, &["check-config"]);
    ran.outcome.unwrap();
    assert_eq!(ran.err, "");
    std::fs::write(&set, "{}").unwrap();
    assert!(run_with(&env, &["check-config"]).usage().contains("no JWKS"));
    let missing = [("SYNCHUB_AUTH_KEYS", r#"[{"algorithm": "RS256", "file": "/no/such.pem"}]"#)];
    assert!(run_with(&missing, &["check-config"]).usage().contains("`auth.keys[0]`"));
    let nobody = [("SYNCHUB_AUTH_JWKS_URL", "http://127.0.0.1:9/jwks.json")];
    let ran = run_with(&nobody, &["check-config"]);
    assert!(ran.outcome.is_ok() && ran.err.contains("cannot get the set of keys"), "{}", ran.err);

    // A key that the hub made once is not for the tokens of an issuer.
    load_or_make_dev_key(folder.path(), &*SeededEntropy::new(5)).unwrap();
    let text = run_with(&env, &[&TOKEN[..], &["--data-dir", data_dir]].concat()).usage();
    assert!(text.contains("public keys only"), "{text}");
    let auth = AuthSettings { jwks_file: Some(set), ..AuthSettings::default() };
    let settings = Settings { auth, data_dir: folder.path().to_owned(), ..Settings::default() };
    assert!(serve::greeting(&settings, NOW_US).unwrap().contains("ws://127.0.0.1:8480/ws"));
    for dev in [false, true] {
        let with_key = serve::with_key(settings.clone(), dev, &*SeededEntropy::new(1)).unwrap();
        assert_eq!(with_key, settings);
    }
}
