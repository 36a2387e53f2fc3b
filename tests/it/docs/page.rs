//! What stands on a page: its blocks, the commands in them, and the files that a reader is to save.

use std::fs;
use std::path::{Path, PathBuf};

/// A page of the documentation.
pub(super) struct Page {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// A fenced block.
pub(super) struct Block {
    pub(super) language: String,
    pub(super) text: String,
    /// The paragraph before it.
    before: String,
    /// The line after its fence, from 1.
    line: usize,
}

/// A command, with what the page says that comes of it.
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) command: String,
    pub(super) shown: Option<String>,
    pub(super) code: i32,
}

impl Page {
    pub(super) fn read(path: &Path) -> Self {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Self { name, path: path.to_owned(), text: fs::read_to_string(path).unwrap() }
    }

    pub(super) fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open, mut before) = (Vec::new(), None::<Block>, String::new());
        for (number, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    let (language, before) = (language.to_owned(), std::mem::take(&mut before));
                    open = Some(Block { language, text: String::new(), before, line: number + 2 });
                }
                (None, Some(block)) => push_line(&mut block.text, line),
                (None, None) if line.is_empty() => {}
                (None, None) => {
                    if number > 0 && self.text.lines().nth(number - 1).is_some_and(str::is_empty) {
                        before.clear();
                    }
                    push_line(&mut before, line);
                }
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.name);
        blocks
    }

    /// The commands of the page, in order.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.blocks().iter().flat_map(Block::steps).collect()
    }

    /// The files that the page tells to save, by name.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let named = self.blocks().into_iter().filter_map(|block| {
            let name = block.before.split_once("ave this as `")?.1.split('`').next()?.to_owned();
            Some((name, block.text))
        });
        named.collect()
    }

    /// Where its links lead, but for those to elsewhere.
    pub(super) fn links(&self) -> Vec<String> {
        let ends = self.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        ends.filter(|link| !link.contains("://") && !link.contains(' ')).map(str::to_owned).collect()
    }

    /// Its headings, as links name them.
    pub(super) fn headings(&self) -> Vec<String> {
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        let slug = |line: &str| -> String {
            let text = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            text.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
        };
        headings.map(slug).collect()
    }
}

impl Block {
    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let (mut pending, mut is_shell) = (String::new(), self.language == "sh");
        let has_commands = is_shell || self.language == "console";
        // Keys and tokens by hand are run by tests/it/tokens, which looks at what comes out.
        is_shell &= !self.text.starts_with("openssl ");
        for (number, line) in self.text.lines().enumerate().filter(|_| has_commands) {
            let command = if pending.is_empty() && !is_shell { line.strip_prefix("$ ") } else { Some(line) };
            match command.filter(|_| is_shell || self.language == "console") {
                Some(part) if part.ends_with('\\') => pending += part.trim_end_matches('\\'),
                Some(part) if (pending.clone() + part).trim().is_empty() => {}
                Some(part) => {
                    let command = std::mem::take(&mut pending) + part;
                    steps.push(Step { line: self.line + number, code: code(&command), command, shown: None });
                }
                None => {
                    let Some(step) = steps.last_mut() else { continue };
                    push_line(step.shown.get_or_insert_default(), line);
                }
            }
        }
        steps
    }
}

/// The exit code that a command must have: 0, if no comment behind it says another.
fn code(command: &str) -> i32 {
    let said =
        command.split_once("# exit code ").map(|(_, rest)| rest.split([' ', ':', ',']).next().unwrap());
    said.map_or(0, |said| said.parse().unwrap())
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
