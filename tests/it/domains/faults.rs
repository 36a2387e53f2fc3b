//! A definition with a fault stops the hub before it opens anything, and says where and what to do.

use synchub::app::Node;
use synchub::clock::ManualClock;
use synchub::config::{Secret, Settings};
use synchub::entropy::SeededEntropy;
use tempfile::TempDir;

use crate::support::NOW_US;

/// What the start says to a definition file, and whether it had made a store by then.
async fn start(path: &str, text: &str) -> (String, bool) {
    let folder = TempDir::new().unwrap();
    let domains = folder.path().join("domains");
    let file = domains.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
    let mut settings = Settings { listen: ([127, 0, 0, 1], 0).into(), ..Settings::default() };
    settings.auth.hs256_secret = Some(Secret::new("a test secret of more than 32 bytes, for all hubs"));
    settings.data_dir = folder.path().join("data");
    settings.domains_dir = Some(domains);
    let started = Node::start(settings, ManualClock::at(NOW_US), SeededEntropy::new(1)).await;
    (format!("{:#}", started.err().unwrap()), folder.path().join("data").exists())
}

#[tokio::test]
async fn a_file_with_a_fault_stops_the_start_and_names_file_place_and_cure() {
    let good = "name = \"van\"\nstrategy = \"client_wins\"\nvisibility = \"unit\"\n\
                [fields.status]\ntype = \"string\"\nenum = [\"IN\", \"OUT\"]\n";
    let flow = "[workflow]\nfield = \"status\"\n[workflow.transitions]\n";
    for (path, text, says) in [
        (
            "van.toml",
            format!("{good}{flow}IN = [\"GONE\"]\n"),
            &["van.toml", "workflow.transitions.IN", "GONE", "OUT"][..],
        ),
        (
            "acme/van.toml",
            format!("{good}{flow}IN = [\"GONE\"]\n"),
            &["acme/van.toml", "workflow.transitions.IN"],
        ),
        (
            "van.toml",
            good.replace("client_wins", "best_wins"),
            &["van.toml", "best_wins", "most_recent_wins"],
        ),
        ("van.toml", good.replace("visibility", "visible"), &["van.toml", "visible"]),
        ("van.toml", good.replace("\"van\"", "\"bus\""), &["van.toml", "bus"]),
        ("van.toml", "name = ".to_owned(), &["van.toml"]),
    ] {
        let (error, has_store) = start(path, &text).await;
        for word in says {
            assert!(error.contains(word), "{word} is not in: {error}");
        }
        assert!(!has_store, "{error}");
    }
}
