//! A machine for a page to be tried on: a folder, the programs that the page names, and its hub.
//!
//! What the page calls `/etc`, `/var` and so on lies in the folder; nothing outside of it is changed.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::life;
use super::page::{Page, Step};

/// How long a hub may take to listen; far above what it takes.
const START_LIMIT: Duration = Duration::from_mins(1);
/// The folders of the machine that pages name.
const FOLDERS: [&str; 4] = ["/etc/", "/var/", "/usr/local/", "/tmp/"];
/// Where the page's unit lies.
const UNIT: &str = "/etc/systemd/system/synchub.service";

/// Runs what stands behind it, as nobody else.
const SUDO: &str = r#"#!/usr/bin/env bash
[[ $1 != -u ]] || shift 2
args=()
while (($#)); do
    case $1 in
        -o | -g) shift ;;
        *) args+=("$1") ;;
    esac
    shift
done
exec "${args[@]}"
"#;
/// `curl`, as far as pages use it, with nothing to install.
const CURL: &str = r#"#!/usr/bin/env bash
url=${!#} rest=${url#http://} host=${url#http://}
host=${host%%/*} path=/${rest#*/}
exec 3<>"/dev/tcp/${host%:*}/${host#*:}"
printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$path" "$host" >&3
read -r _ status _ <&3
while IFS= read -r line <&3 && [[ $line != $'\r' ]]; do :; done
cat <&3
[[ $status == 200 ]] || exit 22
"#;
/// The log of the page's service.
const JOURNALCTL: &str = "#!/usr/bin/env bash\nexec cat \"$PAGE_ROOT/log\"\n";

pub(super) struct Machine {
    folder: TempDir,
    /// The page's unit, if it has one.
    unit: String,
    hub: Option<Hub>,
    /// The newest token that a command or a hub has printed.
    token: Option<String>,
}

struct Hub {
    child: Child,
    port: u16,
}

impl Machine {
    pub(super) fn new(page: &Page) -> Self {
        let unit = page.files().into_iter().find(|(name, _)| name == UNIT).map(|(_, text)| text);
        let folder = TempDir::new().unwrap();
        let machine = Self { folder, unit: unit.unwrap_or_default(), hub: None, token: None };
        for folder in
            ["bin", "etc/systemd/system", "var/lib", "var/backups", "usr/local/bin", "tmp", "target/release"]
        {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        for (name, text) in [("sudo", SUDO), ("curl", CURL), ("journalctl", JOURNALCTL)] {
            let path = machine.path("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let hub = Path::new(env!("CARGO_BIN_EXE_synchub"));
        for name in ["synchub", "synchub-loadtest"] {
            let binary = hub.with_file_name(name);
            assert!(binary.exists(), "{} is missing: cargo build --workspace --bins", binary.display());
            symlink(&binary, machine.path("bin").join(name)).unwrap();
            symlink(&binary, machine.path("target/release").join(name)).unwrap();
        }
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtest"), machine.path("loadtest")).unwrap();
        for (name, text) in page.files() {
            let path = machine.path(name.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, machine.inside(&text)).unwrap();
        }
        machine
    }

    /// Does what the step says, and demands what it shows.
    pub(super) fn run(&mut self, step: &Step, place: &str) {
        match step.command.trim_start_matches("sudo ") {
            command if command.starts_with("synchub serve") => self.start(command),
            "systemctl stop synchub" => self.stop(),
            "systemctl start synchub" => self.start_service(),
            "systemctl restart synchub" => {
                self.stop();
                self.start_service();
            }
            command if command.starts_with("systemctl ") => panic!("{place}: `{command}` is not known here"),
            _ => self.run_to_its_end(step, place),
        }
    }

    fn run_to_its_end(&mut self, step: &Step, place: &str) {
        let mut shell = Command::new("timeout");
        shell.args(["300", "bash"]);
        let ran = self.bash(shell, &format!("exec 2>&1\n{}", step.command)).output().unwrap();
        let said = self.said(&ran);
        assert_eq!(ran.status.code(), Some(step.code), "{place}: {}\n{said}", step.command);
        if let Some(shown) = &step.shown {
            assert!(matches(shown, &said), "{place}: {}\nshown:\n{shown}\ncame:\n{said}", step.command);
        }
        if let (Some(token), Some(hub)) = (token(&said), &self.hub) {
            life::leave_a_ticket(hub.port, &token);
            self.token = Some(token);
        }
    }

    /// A command of the page, as its reader would type it; `shell` runs it.
    fn bash(&self, mut shell: Command, command: &str) -> Command {
        shell.args(["-eu", "-o", "pipefail", "-c", &self.inside(command)]);
        // By this one scripts/test finds what is left running; the hub warns of it, and goes on.
        let is_setting = |name: &str| name.starts_with("SYNCHUB_") && name != "SYNCHUB_TEST_RUN";
        for (name, _) in env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy())) {
            shell.env_remove(name);
        }
        let path = format!("{}:{}", self.path("bin").display(), env::var("PATH").unwrap());
        shell.env("PATH", path).env("PAGE_ROOT", self.folder.path());
        shell.current_dir(self.folder.path()).stdin(Stdio::null());
        shell
    }

    /// What a command said, as the page would show it.
    fn said(&self, ran: &Output) -> String {
        let said = String::from_utf8_lossy(&ran.stdout).replace(self.folder.path().to_str().unwrap(), "");
        let lines = said.split_inclusive('\n').filter(|line| !line.contains("SYNCHUB_TEST_RUN"));
        let said: String = lines.collect();
        match &self.hub {
            Some(hub) => said.replace(&format!(":{}", hub.port), ":8480"),
            None => said,
        }
    }

    fn start(&mut self, command: &str) {
        assert!(self.hub.is_none(), "`{command}`, but a hub runs already");
        let mut hub = self.bash(Command::new("bash"), &format!("exec {command}"));
        hub.env("SYNCHUB_LISTEN", "127.0.0.1:0");
        let out = File::create(self.path("out")).unwrap();
        let mut child = hub.stdout(out).stderr(Stdio::piped()).spawn().unwrap();
        let ports = follow_log(child.stderr.take().unwrap(), self.path("log"));
        let Ok(port) = ports.recv_timeout(START_LIMIT) else {
            drop(child.kill());
            drop(child.wait());
            panic!("`{command}` does not listen: {}", fs::read_to_string(self.path("log")).unwrap());
        };
        self.hub = Some(Hub { child, port });
        self.token = token(&fs::read_to_string(self.path("out")).unwrap());
    }

    /// Starts what the page's unit says.
    fn start_service(&mut self) {
        let value = |key: &str| self.unit.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
        let (file, command) = (value("EnvironmentFile="), value("ExecStart="));
        self.start(&format!("env $(cat {file}) {command}"));
    }

    /// Stops the hub, if one runs; it must end well.
    pub(super) fn stop(&mut self) {
        let Some(mut hub) = self.hub.take() else { return };
        let asked = Command::new("kill").arg("-TERM").arg(hub.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        assert!(hub.child.wait().unwrap().success(), "{}", fs::read_to_string(self.path("log")).unwrap());
    }

    /// Runs a script of the page with a token, until frames of all these types have come.
    pub(super) fn talk(&mut self, python: &str, script: &str, types: &[&str]) {
        let (script, token) = (self.inside(script), self.token.clone().unwrap());
        let mut shell = Command::new("timeout");
        let spawned = shell.args(["60", python, "-u", "-c", &script, &token]).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap();
        let mut missing: Vec<&str> = types.to_vec();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let frame: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            missing.retain(|kind| frame["type"] != *kind);
            if missing.is_empty() {
                break;
            }
        }
        // `timeout` hands this on to the script, which may have ended by itself.
        drop(Command::new("kill").args(["-TERM", &child.id().to_string()]).status());
        drop(child.wait());
        assert!(missing.is_empty(), "the script ended without {missing:?}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The text with the machine's folders below the page's, and with the port of its hub.
    fn inside(&self, text: &str) -> String {
        let root = self.folder.path().to_str().unwrap();
        let mut inside = String::new();
        let mut before = ' ';
        for (at, c) in text.char_indices() {
            let begins = !before.is_alphanumeric() && !"./_-…}~*".contains(before);
            if begins && FOLDERS.iter().any(|folder| text[at..].starts_with(folder)) {
                inside += root;
            }
            inside.push(c);
            before = c;
        }
        match &self.hub {
            Some(hub) => inside.replace(":8480", &format!(":{}", hub.port)),
            None => inside,
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Writes a hub's log into a file; says the port when the hub listens.
fn follow_log(log: ChildStderr, file: PathBuf) -> Receiver<u16> {
    let (sender, receiver) = channel();
    let mut file = File::options().create(true).append(true).open(file).unwrap();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            writeln!(file, "{line}").unwrap();
            let address = line.split_once("listening").and_then(|(_, rest)| rest.split_once("127.0.0.1:"));
            if let Some((_, rest)) = address {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                // The test may have given up.
                let _ = sender.send(digits.parse().unwrap());
            }
        }
    });
    receiver
}

/// The token that stands alone on a line.
fn token(text: &str) -> Option<String> {
    let is_token = |line: &&str| line.starts_with("ey") && line.split('.').count() == 3;
    text.lines().find(is_token).map(str::to_owned)
}

/// Whether what came is what is shown, where `…` stands for anything and a number for any number.
fn matches(shown: &str, came: &str) -> bool {
    let (shown, came) = (without_numbers(shown.trim()), without_numbers(came.trim()));
    let mut pieces = shown.split('…');
    let Some(mut rest) = came.strip_prefix(pieces.next().unwrap()) else { return false };
    let mut last = None;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        (rest, last) = (&rest[at + piece.len()..], Some(piece));
    }
    rest.is_empty() || last.is_some_and(|last| last.is_empty() || rest.ends_with(last))
}

fn without_numbers(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if plain.ends_with('0') => {}
            '0'..='9' => plain.push('0'),
            c => plain.push(c),
        }
    }
    plain
}

/// An interpreter that can run the page's script.
pub(super) fn python() -> Option<String> {
    let python = env::var("SYNCHUB_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let imported = Command::new(&python).args(["-c", "import websockets"]).output();
    imported.is_ok_and(|imported| imported.status.success()).then_some(python)
}

#[test]
fn what_is_shown_must_come() {
    for (shown, came, expected) in [
        ("a 1 b", "a 27 b\n", true),
        ("a", "a b", false),
        ("a … c", "a b\nb c", true),
        ("a … c", "a b c d", false),
        ("… c", "b c b c", true),
        ("a\n…", "a\nb\nc", true),
        ("a\n…", "b\na", false),
    ] {
        assert_eq!(matches(shown, came), expected, "{shown} {came}");
    }
}
