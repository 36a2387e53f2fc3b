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

const VAN: &str = "name = \"van\"\nstrategy = \"client_wins\"\nvisibility = \"unit\"\n";

/// A folder with these files, and what stands between them made.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// Runs `synchub domains` in front of a `domains_dir`; paths begin at `folder`.
fn domains(folder: &tempfile::TempDir, args: &[&str], files: &[&str]) -> Ran {
    let dir = folder.path().join("domains");
    std::fs::create_dir_all(&dir).unwrap();
    let paths: Vec<_> = files.iter().map(|file| folder.path().join(file)).collect();
    let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let args = [&["domains"], args, paths.as_slice()].concat();
    run_with(&[("SYNCHUB_DOMAINS_DIR", dir.to_str().unwrap())], &args)
}

#[test]
fn inv8_domains_check_says_what_a_good_file_would_do() {
    let replacing = include_str!("../../domains/journal.toml");
    let there = folder(&[
        ("van.toml", VAN),
        ("domains/acme/van.toml", VAN),
        ("domains/lorry.toml", &VAN.replace("van", "lorry")),
        ("journal.toml", replacing),
        ("shared/journal.toml", &replacing.replace("owner", "tenant")),
        ("quiet.toml", &(VAN.replace("van", "quiet") + "feed = false\n")),
    ]);
    for (args, file, says) in [
        (&["check"][..], "van.toml", "good: van, for all tenants: client_wins, unit, feed; a new domain"),
        (
            &["check", "--tenant", "acme"],
            "van.toml",
            "for tenant acme: client_wins, unit, feed; takes the place",
        ),
        (
            &["check", "--tenant", "umbrella"],
            "van.toml",
            "for tenant umbrella: client_wins, unit, feed; a new",
        ),
        (&["check"], "domains/acme/van.toml", "for tenant acme: client_wins, unit, feed; a new domain"),
        (
            &["check", "--tenant", "umbrella"],
            "domains/lorry.toml",
            "for all tenants: client_wins, unit, feed; a new",
        ),
        (&["check"], "journal.toml", "client_wins, owner, feed; takes the place of the one that held"),
        (&["check"], "shared/journal.toml", "client_wins, tenant, feed; takes the place of one with another"),
        (&["check"], "quiet.toml", "good: quiet, for all tenants: client_wins, unit, no feed; a new domain"),
    ] {
        let ran = domains(&there, args, &[file]);
        assert!(ran.outcome.is_ok() && ran.err.is_empty(), "{file}: {}", ran.err);
        assert!(ran.out.contains(file) && ran.out.contains(says), "{args:?} {file}: {}", ran.out);
        assert_eq!(ran.out.lines().count(), 1);
    }
}

#[test]
fn inv8_domains_check_finds_every_faulty_file_and_ends_with_1() {
    let there = folder(&[
        ("van.toml", VAN),
        ("bus.toml", VAN),
        ("car.toml", &VAN.replace("client_wins", "best_wins").replace("van", "car")),
        ("cab.toml", &(VAN.replace("van", "cab") + "date_field = \"at\"\n")),
        ("tram.toml", &(VAN.replace("van", "tram") + "path = \"van\"\n")),
        ("van.txt", VAN),
        ("domains/lorry.toml", "name = "),
    ]);
    let files = ["van.toml", "bus.toml", "car.toml", "cab.toml", "tram.toml", "van.txt", "none.toml"];
    let ran = domains(&there, &["check"], &files);
    let Err(Failure::Other(error)) = ran.outcome else { panic!("exit code 1") };
    assert_eq!(error.to_string(), "there are 7 errors; the hub would not start with these files");
    for says in [
        "bus.toml: name: is \"van\", but the file is named \"bus\"; make both the same",
        "unknown variant `best_wins`, expected one of `client_wins`",
        "cab.toml: date_field: there is no field \"at\"; add [fields.at] or name another",
        "the domains tram and van both have the path \"van\"; give one of them another `path`",
        "van.txt: a definition file is NAME.toml",
        "none.toml: cannot be read",
        "lorry.toml: TOML parse error",
    ] {
        assert!(ran.err.contains(says), "{says} in {}", ran.err);
    }
    let good: Vec<_> = ran.out.lines().filter_map(|line| line.split(": good").nth(1)).collect();
    assert_eq!(good.len(), 2, "van and tram: {}", ran.out);

    std::fs::write(there.path().join("domains/lorry.toml"), "name = ").unwrap();
    let ran = domains(&there, &["check"], &["domains/lorry.toml"]);
    assert_eq!(
        format!(
            "{:#}",
            match ran.outcome {
                Err(Failure::Other(error)) => error,
                other => panic!("{other:?}"),
            }
        ),
        "there is an error; the hub would not start with these files"
    );
    assert_eq!(ran.err.matches("lorry.toml").count(), 1, "once, not as one of the others too: {}", ran.err);
    assert!(domains(&there, &["check"], &["van.toml"]).outcome.is_err(), "the hub would not start");
    assert_eq!(Cli::try_parse_from(["synchub", "domains", "check"]).unwrap_err().exit_code(), 2);
}

#[test]
fn inv8_domains_list_tells_where_each_comes_from() {
    let there = folder(&[("domains/van.toml", VAN), ("domains/acme/van.toml", VAN)]);
    let lines = |args: &[&str]| -> Vec<Vec<String>> {
        let ran = domains(&there, args, &[]);
        ran.outcome.unwrap();
        let words = |line: &str| {
            line.split("  ").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        ran.out.lines().map(words).collect()
    };
    let all = lines(&["list"]);
    let builtin = synchub_rules::domain::Catalog::builtin();
    assert_eq!(all.len(), 1 + builtin.iter().count() + 2);
    assert_eq!(all[0], ["DOMAIN", "STRATEGY", "VISIBILITY", "FEED", "TENANTS", "FROM"]);
    let metrics = ["metrics", "server_wins", "owner", "no feed", "all", "built in"];
    assert!(all.iter().any(|line| *line == metrics), "{all:?}");
    for (tenant, whose, file) in [("acme", "acme", "acme/van.toml"), ("umbrella", "all", "domains/van.toml")]
    {
        let listed = lines(&["list", "--tenant", tenant]);
        assert_eq!(listed.len(), 1 + builtin.iter().count() + 1);
        let van: Vec<_> = listed.iter().filter(|line| line[0] == "van").collect();
        assert_eq!((van.len(), van[0][4].as_str(), van[0][5].ends_with(file)), (1, whose, true), "{van:?}");
    }
    std::fs::write(there.path().join("domains/van.toml"), "name = ").unwrap();
    assert!(domains(&there, &["list"], &[]).outcome.is_err());
}
