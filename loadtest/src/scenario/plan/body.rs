//! What an entry of a scenario carries: its number, by which its change is known again wherever it
//! arrives, and text that does not compress to nothing.

use synchub_protocol::Data;

use super::{Kept, Line};
use crate::chance::Chance;
use crate::survey::LineNo;

/// The field of the number.
fn title(kept: Kept) -> &'static str {
    match kept {
        Kept::Shared => "subject",
        Kept::Own => "title",
    }
}

/// The data of an entry with about `size` bytes of text: the whole record when it creates, else the fields
/// that it edits.
pub(crate) fn body(number: LineNo, line: &Line, size: usize) -> Data {
    let mut data = Data::from_iter([(title(line.kept).to_owned(), format!("entry {number}").into())]);
    let text = text(number, size);
    match line.kept {
        Kept::Shared => {
            data.insert("description".to_owned(), text.into());
            if line.creates {
                data.insert("status".to_owned(), "NEW".into());
                data.insert("priority".to_owned(), "LOW".into());
            }
        }
        Kept::Own => drop(data.insert("content".to_owned(), text.into())),
    }
    data
}

/// The entry whose change a record carries, if a scenario wrote it.
pub(crate) fn line_of(data: &Data) -> Option<LineNo> {
    let title = data.get("subject").or_else(|| data.get("title"))?;
    title.as_str()?.strip_prefix("entry ")?.parse().ok()
}

fn text(number: LineNo, size: usize) -> String {
    let chance = Chance::new(number as u64);
    let mut text = format!("{number}: ");
    while text.len() < size {
        text.extend([chance.uuid().to_string().as_str(), " "]);
    }
    text
}
