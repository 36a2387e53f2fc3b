//! The commands of docs/configuration.md make keys and tokens that the hub takes.
//!
//! It runs them as they stand there, so it needs `bash`, `openssl` and `perl`, which every Debian has.

use std::path::Path;
use std::process::Command;

use synchub::auth::Verifier;
use synchub::clock::{Clock, SystemClock};
use synchub::config::{AuthSettings, Secret, Sources, load};

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// The blocks of this language in the section of an algorithm.
fn blocks(section: &str, language: &str) -> Vec<&'static str> {
    let text = PAGE.split(&format!("\n### {section}\n")).nth(1).unwrap();
    let text = text.split("\n### ").next().unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

/// Runs the section's commands in `folder`; the token that they print.
fn run(section: &str, folder: &Path) -> String {
    let commands = blocks(section, "sh").join("\n");
    let mut bash = Command::new("bash");
    let ran = bash.args(["-eu", "-o", "pipefail", "-c", &commands]).current_dir(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{section}: install bash, openssl and perl, or mend the page: {errors}");
    String::from_utf8(ran.stdout).unwrap().lines().last().unwrap().to_owned()
}

#[test]
fn the_commands_for_public_keys_make_good_tokens() {
    for section in ["RS256", "ES256", "EdDSA"] {
        let folder = tempfile::tempdir().unwrap();
        // The numbers in an ES256 signature are sometimes shorter, which a single run would miss.
        for _ in 0..(if section == "ES256" { 20 } else { 1 }) {
            let token = run(section, folder.path());
            let place = format!("file = \"{}/", folder.path().display());
            let settings = blocks(section, "toml").join("\n").replace("file = \"", &place);
            let file = folder.path().join("hub.toml");
            std::fs::write(&file, settings).unwrap();
            let settings = load(&Sources { file: Some(file), ..Sources::default() }).unwrap().settings;
            let verifier = Verifier::new(&settings.auth).unwrap();
            let identity = verifier.verify_at_once(&token, SystemClock.now_us()).unwrap();
            assert_eq!((identity.user.as_str(), identity.tenant.as_str()), ("alice", "acme"), "{section}");
        }
    }
}

#[test]
fn the_commands_for_a_secret_make_good_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let token = run("HS256", folder.path());
    let secret = std::fs::read_to_string(folder.path().join("hs256.secret")).unwrap();
    let secret = Some(Secret::new(secret.trim_end()));
    let settings = AuthSettings { hs256_secret: secret, ..AuthSettings::default() };
    let verifier = Verifier::new(&settings).unwrap();
    assert!(verifier.verify_at_once(&token, SystemClock.now_us()).is_ok());
}

#[test]
fn the_variable_and_the_set_on_the_page_can_be_loaded() {
    let variable = PAGE.split("`SYNCHUB_AUTH_KEYS='").nth(1).unwrap().split("'`").next().unwrap();
    let environment = vec![("SYNCHUB_AUTH_KEYS".to_owned(), variable.into())];
    let settings = load(&Sources { environment, ..Sources::default() }).unwrap().settings;
    assert_eq!(settings.auth.keys[0].kid.as_deref(), Some("2026-03"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    std::fs::write(&file, blocks("A set of keys (JWKS)", "toml").join("\n")).unwrap();
    let auth = load(&Sources { file: Some(file), ..Sources::default() }).unwrap().settings.auth;
    assert!(Verifier::new(&auth).is_ok() && auth.jwks_url.is_some() && auth.audience.is_some());
}
