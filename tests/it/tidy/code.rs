//! Rust source as text: comments, strings and test code blanked, then names and paths picked out.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the source has failed")]

pub(crate) struct Source {
    /// From the root of the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The text without comments, strings and test code, and the strings that it held.
    pub(crate) fn code(&self) -> Code {
        let name = self.path.rsplit('/').next().unwrap();
        if name == "tests.rs" || self.path.contains("/tests/") {
            return Code::default();
        }
        without_tests(blank(&self.text))
    }

    /// The top-level module of the hub that the file belongs to.
    pub(crate) fn module(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("src/")?;
        Some(inner.split_once('/').map_or(inner.trim_end_matches(".rs"), |(module, _)| module))
    }
}

/// Text in which only code is left, and the string literals with their places in it.
#[derive(Default)]
pub(crate) struct Code {
    pub(crate) text: String,
    pub(crate) strings: Vec<(usize, String)>,
}

impl Code {
    /// The names in the text, with their places.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let mut rest = 0;
        std::iter::from_fn(move || {
            let start = rest + self.text[rest..].find(is_name)?;
            let length = self.text[start..].find(|c| !is_name(c)).unwrap_or(self.text.len() - start);
            rest = start + length;
            Some((start, &self.text[start..rest]))
        })
    }

    /// Every path below `root::`, groups taken apart.
    pub(crate) fn paths_below(&self, root: &str) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for (start, word) in self.words() {
            let after = self.text[start + word.len()..].trim_start();
            let Some(tree) = after.strip_prefix("::").filter(|_| word == root) else { continue };
            use_tree(tree, &mut Vec::new(), &mut paths);
        }
        paths
    }
}

/// Reads `a::b`, `a::{b, c::d}` or `a as b`, and gives back what follows.
fn use_tree<'t>(tree: &'t str, above: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> &'t str {
    let mut tree = tree.trim_start();
    if let Some(group) = tree.strip_prefix('{') {
        tree = group;
        loop {
            tree = tree.trim_start();
            match tree.chars().next() {
                None => return tree,
                Some('}') => return &tree[1..],
                Some(',') => tree = &tree[1..],
                Some(_) => {
                    let rest = use_tree(tree, above, paths);
                    // What is no name (`*`, `as x`) is skipped to the next element.
                    let next = rest.find([',', '}']).unwrap_or(rest.len());
                    tree = &rest[next..];
                }
            }
        }
    }
    let end = tree.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tree.len());
    if end == 0 {
        return tree;
    }
    above.push(tree[..end].to_owned());
    let rest = &tree[end..];
    let rest = if let Some(below) = rest.trim_start().strip_prefix("::") {
        let before = paths.len();
        let rest = use_tree(below, above, paths);
        if paths.len() == before {
            paths.push(above.clone());
        }
        rest
    } else {
        paths.push(above.clone());
        rest
    };
    above.pop();
    rest
}

/// Blanks comments, strings and characters; places stay the same.
fn blank(text: &str) -> Code {
    let mut code = Code::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let place = code.text.len();
        let after_name = code.text.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some((length, string)) = string_at(rest, after_name) {
            code.strings.push((place, string));
            length
        } else if let Some(length) = char_at(rest) {
            length
        } else {
            code.text.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.text.extend(rest[..length].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

/// A string literal here: how long it is, and what stands in it (escapes as they are).
fn string_at(text: &str, after_name: bool) -> Option<(usize, String)> {
    let letters = if after_name { Some(0) } else { text.find(|c| !['b', 'c', 'r'].contains(&c)) };
    let prefix = text.get(..letters?).filter(|prefix| prefix.len() <= 2)?;
    let raw = &text[prefix.len()..];
    let hashes = if prefix.ends_with('r') { raw.len() - raw.trim_start_matches('#').len() } else { 0 };
    let body = raw[hashes..].strip_prefix('"')?;
    let end = if prefix.ends_with('r') {
        body.find(&format!("\"{}", "#".repeat(hashes)))?
    } else {
        let mut escaped = false;
        body.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?
    };
    Some((prefix.len() + hashes + 1 + end + 1 + hashes, body[..end].to_owned()))
}

/// A character literal here, as opposed to a lifetime.
fn char_at(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let mut chars = body.char_indices();
    let (_, first) = chars.next()?;
    let from = if first == '\\' { chars.nth(1)?.0 } else { first.len_utf8() };
    let end = from + body[from..].find('\'').filter(|end| first == '\\' || *end == 0)?;
    Some(1 + end + 1)
}

/// Blanks each item behind `#[cfg(test)]`.
fn without_tests(mut code: Code) -> Code {
    while let Some(start) = code.text.find("#[cfg(test)]") {
        let item = &code.text[start..];
        let end = match item.find(['{', ';']) {
            Some(open) if item[open..].starts_with('{') => open + closing_brace(&item[open..]),
            Some(end) => end + 1,
            None => item.len(),
        };
        let blanked: String = item[..end].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
        code.text.replace_range(start..start + end, &blanked);
        code.strings.retain(|(place, _)| !(start..start + end).contains(place));
    }
    code
}

fn closing_brace(text: &str) -> usize {
    let mut depth = 0_usize;
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return place + 1;
        }
    }
    text.len()
}
