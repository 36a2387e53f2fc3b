//! Decoding: from the bytes of a batch to checked entries and the request's hash, against rmp-serde into a
//! `serde_json::Value`.

use anyhow::Result;

use crate::context::Context;
use crate::process::{Place, run_to_end};
use crate::report::{Goal, Row};

/// Measures both, in turns.
pub(crate) fn run(context: &Context) -> Result<Vec<Row>> {
    context.scheduling.take_place(Place::Everywhere);
    let (mut hub, mut value) = (Vec::new(), Vec::new());
    for round in 1..=context.rounds {
        hub.push(one(context, "decode-hub")?);
        value.push(one(context, "decode-value")?);
        context.say(&format!(
            "decode, round {round}: {:.0} us, Value {:.0} us",
            hub[round - 1],
            value[round - 1]
        ));
    }
    let what = "a batch of 100 entries of 320 bytes: decoded, checked, hashed";
    Ok(vec![Row::alone("decode", what, "us", hub).against(value).goal(Goal::RatioAtMost(1.2))])
}

fn one(context: &Context, name: &str) -> Result<f64> {
    let millis = context.window.as_millis().to_string();
    let arguments = ["yardstick".to_owned(), name.to_owned(), millis];
    Ok(run_to_end(context.scheduling, &context.own, Place::Everywhere, &arguments)?.trim().parse()?)
}
