//! What goes over the wire, and what compression and deltas save of it.
//!
//! Bytes are those of frames: what WebSocket and TCP put around them is not counted.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use serde_json::Value;
use synchub_client::traffic::SIZE_CLASSES;
use synchub_client::{Flow, Traffic};
use synchub_protocol::{Data, Encoding, Operation};

use crate::args::{EditForm, Offers};
use crate::trace::Line;

/// How the classes of [`SIZE_CLASSES`] are called.
const SIZES: [&str; SIZE_CLASSES.len() + 1] =
    ["up to 1 KiB", "1 to 4 KiB", "4 to 16 KiB", "16 to 64 KiB", "above 64 KiB"];

/// The edits of a replay: in which form they go, and what either form takes.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    form: EditForm,
    sizes: Mutex<EditSizes>,
}

impl Edits {
    /// Edits that go in this form.
    pub(crate) fn new(form: EditForm) -> Self {
        Self { form, sizes: Mutex::default() }
    }

    /// The fields that a line edits, if they are to be sent instead of the whole record. `held` is the version that
    /// its device holds: only against the one that the line names can it be said what was edited.
    pub(crate) fn fields(&self, line: &Line, named: u64, held: Option<(u64, Arc<Data>)>) -> Option<Data> {
        let (version, base) = held?;
        if line.delta || line.operation != Operation::Upsert || version != named {
            return None;
        }
        let is_edited = |(name, value): &(&String, &Value)| base.get(*name).unwrap_or(&Value::Null) != *value;
        let edited = line.data.iter().filter(is_edited);
        let edited: Data = edited.map(|(name, value)| (name.clone(), value.clone())).collect();
        self.sizes.lock().add(&line.data, &edited);
        (self.form == EditForm::Fields && !edited.is_empty()).then_some(edited)
    }

    /// What the edits were so far.
    pub(crate) fn sizes(&self) -> EditSizes {
        self.sizes.lock().clone()
    }
}

/// The `data` of edits whose base the device held, in MessagePack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct EditSizes {
    pub(crate) edits: u64,
    /// Bytes of the whole records.
    pub(crate) whole_bytes: u64,
    /// Bytes of the fields that were edited.
    pub(crate) edited_bytes: u64,
}

impl EditSizes {
    fn add(&mut self, whole: &Data, edited: &Data) {
        let size = |data: &Data| Encoding::MessagePack.encode(data).len() as u64;
        self.edits += 1;
        self.whole_bytes += size(whole);
        self.edited_bytes += size(edited);
    }
}

/// What went over the wire in a replay.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Savings {
    /// What the devices offered.
    pub(crate) offers: Offers,
    /// What the devices were sent.
    pub(crate) from_hub: Way,
    /// What the devices sent.
    pub(crate) to_hub: Way,
    /// What one new device of each tenant was sent at the end.
    pub(crate) new_devices: Way,
    pub(crate) edits: EditSizes,
}

/// What went one way: everything, then by kind and by size before compression; what did not occur is left out.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Way {
    pub(crate) total: Share,
    #[serde(serialize_with = "as_map")]
    pub(crate) kinds: Vec<(&'static str, Share)>,
    #[serde(serialize_with = "as_map")]
    pub(crate) sizes: Vec<(&'static str, Share)>,
}

fn as_map<S: Serializer>(shares: &[(&'static str, Share)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(shares.iter().copied())
}

/// Some frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Share {
    pub(crate) frames: u64,
    /// Bytes as they went.
    pub(crate) bytes: u64,
    /// Bytes before compression.
    pub(crate) plain_bytes: u64,
    /// What compression saved.
    pub(crate) saved_percent: f64,
}

impl From<Traffic> for Share {
    fn from(Traffic { frames, bytes, plain_bytes }: Traffic) -> Self {
        Self { frames, bytes, plain_bytes, saved_percent: saved_percent(plain_bytes, bytes) }
    }
}

/// How much less one is than the other.
fn saved_percent(whole: u64, rest: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "bytes of a replay are far below 2^52")]
    let percent = (whole as f64 - rest as f64) * 100.0 / whole as f64;
    percent
}

impl From<Flow> for Way {
    fn from(flow: Flow) -> Self {
        let kinds = [
            ("whole changes", flow.changes),
            ("deltas", flow.deltas),
            ("snapshots", flow.snapshots),
            ("batches", flow.batches),
        ];
        let kept = |(name, traffic): (&'static str, Traffic)| {
            (traffic.frames > 0).then(|| (name, Share::from(traffic)))
        };
        Self {
            total: flow.total().into(),
            kinds: kinds.into_iter().filter_map(kept).collect(),
            sizes: SIZES.into_iter().zip(flow.by_size).filter_map(kept).collect(),
        }
    }
}

impl Display for Savings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ways = [
            ("from the hub", &self.from_hub),
            ("to the hub", &self.to_hub),
            ("new devices", &self.new_devices),
        ];
        for (title, way) in ways {
            writeln!(f, "  {title:<16} {}", way.total)?;
            for (name, share) in way.kinds.iter().chain(&way.sizes) {
                writeln!(f, "    {name:<14} {share}")?;
            }
        }
        let EditSizes { edits, whole_bytes, edited_bytes } = self.edits;
        writeln!(
            f,
            "  edits            {edits}; data {} bytes whole, {} as the edited fields ({:.1} % less)",
            whole_bytes / edits.max(1),
            edited_bytes / edits.max(1),
            saved_percent(whole_bytes, edited_bytes)
        )
    }
}

impl Display for Share {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { frames, bytes, plain_bytes, saved_percent } = self;
        let each = bytes / (*frames).max(1);
        write!(
            f,
            "{frames} frames, {bytes} bytes ({each} each); {plain_bytes} before compression, {saved_percent:.1} % saved"
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trace::tests::line;

    fn data(value: Value) -> Data {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_edit_is_what_differs_from_the_version_that_it_names() {
        let line = Line { data: data(json!({"a": 1, "b": 2, "c": null})), ..line("u", "d", 7, 1) };
        let base = || Some((3, Arc::new(data(json!({"a": 1, "b": 9, "z": 1})))));
        let edits = Edits::new(EditForm::Fields);
        assert_eq!(edits.fields(&line, 3, base()), Some(data(json!({"b": 2}))));
        assert_eq!(edits.fields(&line, 2, base()), None, "the device holds another version");
        assert_eq!(edits.fields(&line, 3, None), None);
        let same = Some((3, Arc::new(line.data.clone())));
        assert_eq!(edits.fields(&line, 3, same), None, "an edit of nothing goes whole");
        let delete = Line { operation: Operation::Delete, ..line.clone() };
        assert_eq!(edits.fields(&delete, 3, base()), None);
        let whole = Edits::new(EditForm::Whole);
        assert_eq!(whole.fields(&line, 3, base()), None);
        assert_eq!(whole.sizes(), EditSizes { edits: 1, whole_bytes: 10, edited_bytes: 4 });
    }

    #[test]
    fn a_report_says_what_was_saved() {
        let mut flow = Flow::default();
        flow.by_size[1] = Traffic { frames: 2, bytes: 1000, plain_bytes: 4000 };
        flow.deltas = Traffic { frames: 1, bytes: 100, plain_bytes: 100 };
        let edits = EditSizes { edits: 2, whole_bytes: 1000, edited_bytes: 100 };
        let way = || Way::from(flow);
        let savings = Savings {
            offers: Offers::Both,
            from_hub: way(),
            to_hub: Way::default(),
            new_devices: Way::default(),
            edits,
        };
        let text = savings.to_string();
        assert!(
            text.contains("2 frames, 1000 bytes (500 each); 4000 before compression, 75.0 % saved"),
            "{text}"
        );
        assert!(text.contains("data 500 bytes whole, 50 as the edited fields (90.0 % less)"), "{text}");
        assert!(text.contains("deltas") && !text.contains("snapshots"), "{text}");
        let json = serde_json::to_value(&savings).unwrap();
        assert_eq!(json["from_hub"]["sizes"]["1 to 4 KiB"]["saved_percent"], 75.0);
        assert_eq!(
            (&json["offers"], &json["from_hub"]["kinds"]["deltas"]["frames"]),
            (&json!("both"), &json!(1))
        );
    }
}
