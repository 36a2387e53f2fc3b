//! Which commands of a page are run, and which are known and not.

/// What becomes of a command.
pub(super) enum Treatment {
    Run(String),
    Leave(&'static str),
    Unknown,
}

/// What is not run, and why.
const LEFT: [(&str, &str); 9] = [
    ("cargo run --release -p synchub-loadtest -- hostile", "loadtest/tests/hostile.rs does"),
    ("./scripts/test", "it runs this test"),
    ("cargo build", "the binaries are those of this build"),
    ("cargo install", "it needs the network"),
    ("pip install", "it needs the network; scripts/test does it"),
    ("sudo useradd", "it would change this machine"),
    ("sudo systemctl daemon-reload", "there is no service manager here"),
    ("sudo systemctl enable", "there is no service manager here"),
    ("sudo systemctl reload nginx", "there is no proxy here"),
];

/// What is run; `cargo run` becomes the first two.
const RUN: [&str; 12] = [
    "synchub",
    "synchub-loadtest",
    "systemctl",
    "journalctl",
    "curl",
    "install",
    "sh",
    "mkdir",
    "cp",
    "cat",
    "du",
    "ls",
];

/// Measurements that take minutes as they stand, and what makes them short.
const SHORTENED: [(&str, &str); 3] = [
    ("synchub-loadtest replay ", " --lines 200"),
    ("synchub-loadtest scenario ", " --duration 2 --devices 10"),
    ("synchub-loadtest scale ", " --small 100 --large 1000 --rounds 2"),
];

pub(super) fn treatment(command: &str) -> Treatment {
    if let Some((_, why)) = LEFT.iter().find(|(left, _)| command.starts_with(left)) {
        return Treatment::Leave(why);
    }
    let command = command
        .replace("cargo run --release -p synchub-loadtest -- ", "synchub-loadtest ")
        .replace("cargo run --release -- ", "synchub ");
    if !RUN.contains(&program(&command)) {
        return Treatment::Unknown;
    }
    let shortened = SHORTENED.iter().find(|(start, _)| command.starts_with(start));
    Treatment::Run(match shortened {
        Some((_, more)) => command + more,
        None => command,
    })
}

/// The program that a command runs: behind `sudo`, its user, and variables.
fn program(command: &str) -> &str {
    let mut words = command.split_whitespace().peekable();
    while let Some(word) = words.next() {
        match word {
            "sudo" => {}
            "-u" => _ = words.next(),
            word if word.contains('=') => {}
            word => return word.rsplit('/').next().unwrap(),
        }
    }
    ""
}
