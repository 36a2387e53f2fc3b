//! Each command of README.md, docs/*.md and the traces' page is run, in the order of the page, as somebody would who
//! follows it: in a folder of its own, against the binaries of this build.
//!
//! Paths below `/etc`, `/var`, `/usr/local` and `/tmp` are kept below that folder, a hub listens on a free
//! port instead of 8480. It needs `bash` and `openssl`, which every Debian has; the script in Python runs
//! where `websockets` can be imported (`SYNCHUB_PYTHON` names another interpreter than `python3`).

mod life;
mod machine;
mod page;
mod words;

use std::fs;
use std::path::Path;

use machine::Machine;
use page::{Page, Step};
use words::Treatment;

fn pages() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md"), root.join("loadtest/traces/README.md")];
    paths.extend(fs::read_dir(root.join("docs")).unwrap().map(|item| item.unwrap().path()));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

fn page(name: &str) -> Page {
    pages().into_iter().find(|page| page.name == name && !page.path.ends_with("traces/README.md")).unwrap()
}

/// Runs a page; how many of its commands were run.
fn follow(page: &Page) -> usize {
    let mut machine = Machine::new(page);
    let mut ran = 0;
    for step in page.steps() {
        let place = format!("{}, line {}", page.name, step.line);
        match words::treatment(&step.command) {
            Treatment::Run(command) => machine.run(&Step { command, ..step }, &place),
            Treatment::Leave(why) => {
                eprintln!("{place}: not run, {why}: {}", step.command);
                continue;
            }
            Treatment::Unknown => panic!(
                "{place}: `{}` is no command that this test knows: run it, or say why not (tests/it/docs/words.rs)",
                step.command
            ),
        }
        ran += 1;
    }
    machine.stop();
    ran
}

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    assert!(follow(&page("README.md")) >= 3);
}

#[test]
fn the_commands_of_the_operators_page_do_what_it_says() {
    assert!(follow(&page("operating.md")) >= 20);
}

#[test]
fn the_commands_of_the_page_on_domains_do_what_it_says() {
    assert!(follow(&page("domains.md")) >= 5);
}

#[test]
fn the_commands_of_all_other_pages_do_what_they_say() {
    let own = ["README.md", "docs/operating.md", "docs/domains.md"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in pages().iter().filter(|page| own.iter().all(|own| page.path != root.join(own))) {
        follow(page);
    }
}

#[test]
fn the_script_of_the_readme_talks_to_a_hub() {
    let Some(python) = machine::python() else {
        eprintln!("left out: no Python with `websockets`; SYNCHUB_PYTHON names one");
        return;
    };
    let page = page("README.md");
    let mut machine = Machine::new(&page);
    let step = Step { line: 0, command: "synchub serve --dev".to_owned(), shown: None, code: 0 };
    machine.run(&step, "README.md");
    let script = page.blocks().into_iter().find(|block| block.language == "python").unwrap().text;
    machine.talk(&python, &script, &["welcome", "snapshot", "sync_result", "data_update"]);
    machine.stop();
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let more = ["ARCHITECTURE.md", "CONTRIBUTING.md", "protocol/PROTOCOL.md"]
        .map(|name| Page::read(&root.join(name)));
    let all: Vec<Page> = pages().into_iter().chain(more).collect();
    let mut faults = Vec::new();
    for page in &all {
        for link in page.links() {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let path =
                if file.is_empty() { page.path.clone() } else { page.path.parent().unwrap().join(file) };
            let found = match (path.exists(), heading) {
                (found, "") => found,
                (true, heading) => Page::read(&path).headings().iter().any(|there| there == heading),
                (false, _) => false,
            };
            if !found {
                faults.push(format!("{}: {link}", page.name));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn every_command_and_every_close_code_stands_on_the_operators_page() {
    let text = page("operating.md").text;
    let mut names: Vec<String> = (4000..5000)
        .filter(|code| synchub_protocol::CloseReason::from_code(*code).is_some())
        .map(|code| format!("| {code} "))
        .collect();
    for command in ["serve", "token", "check-config", "migrate", "backup", "restore", "show", "domains"] {
        names.push(format!("synchub {command}"));
    }
    let missing: Vec<_> = names.iter().filter(|name| !text.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
