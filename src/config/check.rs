//! What a type cannot say about a setting: its range, and how settings fit together.

use std::ops::RangeInclusive;

use http::{HeaderName, HeaderValue};
use synchub_protocol::entry::MAX_ENTRIES;

use super::auth::{AuthSettings, KeySettings};
use super::push::MAX_TTL_SECS;
use super::secret::Secret;
use super::settings::Settings;
use super::trace::TraceSettings;

/// A value that no hub can run with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutOfRange {
    /// Too small or too large.
    #[error("`{key}` is {value}: it must be from {least} to {most}")]
    Range {
        /// The setting.
        key: &'static str,
        /// What it is.
        value: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// Larger than another setting that bounds it.
    #[error("`{key}` is {value}, more than `{bound}`, which is {limit}: lower the one or raise the other")]
    Above {
        /// The setting.
        key: &'static str,
        /// What it is.
        value: usize,
        /// The setting that bounds it.
        bound: &'static str,
        /// What that one is.
        limit: usize,
    },
    /// A text that must not be empty.
    #[error("`{key}` is empty: give it a value or leave it out")]
    Empty {
        /// The setting.
        key: &'static str,
    },
    /// A proxy that is no address.
    #[error("`rates.proxies` must be IP addresses with commas between them, such as `127.0.0.1, ::1`")]
    Proxies,
    /// A private key where a public one belongs.
    #[error(
        "`auth.keys[{index}]` holds a private key, which the hub must not have: make another one, keep it to \
         yourself, and give its public part (`openssl pkey -pubout`)"
    )]
    PrivateKey {
        /// Which key, from 0.
        index: usize,
    },
    /// A place for traces that is none.
    #[error("`trace.endpoint` must be an address that begins with `http://` or `https://`")]
    TraceEndpoint,
    /// A header that no request can have.
    #[error("`trace.headers` has `{name}`, and that name or its value cannot stand in a request")]
    TraceHeader {
        /// Its name.
        name: String,
    },
    /// A filter of log lines that means something else than it seems.
    #[error(
        "`log.level` has `{part}`: each part must be a level (error, warn, info, debug, trace, off) or `module=level`"
    )]
    LogLevel {
        /// What is wrong.
        part: String,
    },
}

const MIB: u64 = 1024 * 1024;

/// Whether the hub can run with `settings`.
pub(super) fn check(settings: &Settings) -> Result<(), OutOfRange> {
    ranges(settings).into_iter().try_for_each(|(key, value, range)| in_range(key, value, range))?;
    let limits = &settings.limits;
    not_above(
        ("limits.max_entry_bytes", limits.max_entry_bytes),
        ("limits.max_frame_bytes", limits.max_frame_bytes),
    )?;
    not_above(
        ("limits.recommended_batch", limits.recommended_batch),
        ("limits.max_batch_entries", limits.max_batch_entries),
    )?;
    if settings.rates.proxies().is_err() {
        return Err(OutOfRange::Proxies);
    }
    let auth = &settings.auth;
    not_empty("auth.hs256_secret", auth.hs256_secret.as_ref().map(Secret::expose))?;
    not_empty("auth.issuer", auth.issuer.as_deref())?;
    not_empty("auth.audience", auth.audience.as_deref())?;
    not_empty("auth.jwks_url", auth.jwks_url.as_deref())?;
    not_empty("auth.jwks_file", auth.jwks_file.as_ref().and_then(|path| path.to_str()))?;
    no_private_key(auth)?;
    not_empty("data_dir", settings.data_dir.to_str())?;
    trace(&settings.trace)?;
    log_level(&settings.log.level)
}

fn trace(trace: &TraceSettings) -> Result<(), OutOfRange> {
    not_empty("trace.service_name", Some(&trace.service_name))?;
    let is_web = |address: &str| address.starts_with("http://") || address.starts_with("https://");
    if trace.endpoint.as_deref().is_some_and(|address| !is_web(address)) {
        return Err(OutOfRange::TraceEndpoint);
    }
    let is_header = |(name, value): &(&String, &Secret)| {
        HeaderName::try_from(name.as_str()).is_ok() && HeaderValue::try_from(value.expose()).is_ok()
    };
    let bad = trace.headers.iter().find(|header| !is_header(header));
    bad.map_or(Ok(()), |(name, _)| Err(OutOfRange::TraceHeader { name: name.clone() }))
}

fn ranges(settings: &Settings) -> Vec<(&'static str, u64, RangeInclusive<u64>)> {
    let (limits, feed, pages) = (&settings.limits, &settings.feed, &settings.catch_up);
    let push = &settings.push;
    let (commit, drain, retention) = (&settings.commit, &settings.drain, &settings.retention);
    vec![
        ("ack_flush_secs", settings.ack_flush_secs, 1..=3600),
        ("auth.leeway_secs", settings.auth.leeway_secs, 0..=300),
        ("auth.jwks_refresh_secs", settings.auth.jwks_refresh_secs, 1..=86_400),
        ("auth.jwks_retry_secs", settings.auth.jwks_retry_secs, 1..=3600),
        ("limits.max_frame_bytes", limits.max_frame_bytes as u64, 16 * 1024..=256 * MIB),
        ("limits.max_entry_bytes", limits.max_entry_bytes as u64, 1024..=64 * MIB),
        ("limits.max_batch_entries", limits.max_batch_entries as u64, 1..=MAX_ENTRIES as u64),
        ("limits.max_in_flight", limits.max_in_flight as u64, 1..=1000),
        ("limits.recommended_batch", limits.recommended_batch as u64, 1..=100_000),
        ("limits.max_connections", limits.max_connections as u64, 1..=10_000_000),
        ("limits.hello_timeout_secs", limits.hello_timeout_secs, 1..=300),
        ("limits.heartbeat_secs", limits.heartbeat_secs, 10..=300),
        ("limits.max_subscriptions", limits.max_subscriptions as u64, 1..=64),
        ("rates.burst_secs", settings.rates.burst_secs, 1..=3600),
        ("rates.refusals", settings.rates.refusals, 1..=1_000_000),
        ("rates.refusal_secs", settings.rates.refusal_secs, 1..=3600),
        ("admission.busy_percent", settings.admission.busy_percent, 1..=1000),
        ("admission.full_percent", settings.admission.full_percent, 1..=1000),
        ("admission.slow_commit_ms", settings.admission.slow_commit_ms, 0..=600_000),
        ("feed.lane_bytes", feed.lane_bytes as u64, 4096..=256 * MIB),
        ("feed.position_ms", feed.position_ms, 1..=1000),
        ("feed.idle_position_secs", feed.idle_position_secs, 1..=60),
        ("feed.changes_per_sec", feed.changes_per_sec as u64, 1..=1_000_000),
        ("push.per_minute", push.per_minute as u64, 1..=100_000),
        ("push.ttl_secs", push.ttl_secs, 1..=MAX_TTL_SECS),
        ("push.queue", push.queue as u64, 1..=100_000),
        ("catch_up.page_rows", pages.page_rows as u64, 1..=100_000),
        ("catch_up.page_bytes", pages.page_bytes as u64, 1024..=64 * MIB),
        ("catch_up.permits", pages.permits as u64, 1..=10_000),
        ("commit.group_batches", commit.group_batches as u64, 1..=100_000),
        ("commit.group_entries", commit.group_entries as u64, 1..=1_000_000),
        ("retention.log_days", retention.log_days, 1..=36_500),
        ("retention.batch_hours", retention.batch_hours, 24..=24 * 36_500),
        ("retention.review_days", retention.review_days, 1..=36_500),
        ("retention.rows", retention.rows.into(), 1..=100_000),
        ("retention.every_secs", retention.every_secs, 1..=86_400),
        ("drain.secs", drain.secs, 0..=3600),
        ("drain.reconnect_ms", drain.reconnect_ms, 0..=3_600_000),
        ("drain.finish_secs", drain.finish_secs, 0..=3600),
        ("trace.sample_one_in", settings.trace.sample_one_in, 1..=1_000_000_000),
    ]
}

fn in_range(key: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<(), OutOfRange> {
    let (least, most) = range.into_inner();
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(OutOfRange::Range { key, value, least, most })
}

fn not_above(
    (key, value): (&'static str, usize),
    (bound, limit): (&'static str, usize),
) -> Result<(), OutOfRange> {
    if value <= limit {
        return Ok(());
    }
    Err(OutOfRange::Above { key, value, bound, limit })
}

fn not_empty(key: &'static str, text: Option<&str>) -> Result<(), OutOfRange> {
    if text == Some("") { Err(OutOfRange::Empty { key }) } else { Ok(()) }
}

/// Held here already, so that nothing that shows settings ever shows one.
fn no_private_key(auth: &AuthSettings) -> Result<(), OutOfRange> {
    let is_private = |key: &KeySettings| key.pem.as_ref().is_some_and(|pem| pem.contains("PRIVATE KEY"));
    auth.keys.iter().position(is_private).map_or(Ok(()), |index| Err(OutOfRange::PrivateKey { index }))
}

/// A lone word that is no level would be taken for a module's name and silence all others.
fn log_level(filter: &str) -> Result<(), OutOfRange> {
    let is_level = |text: &str| text == "off" || text.parse::<tracing::Level>().is_ok();
    for part in filter.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if !is_level(level) {
            return Err(OutOfRange::LogLevel { part: part.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LimitSettings;

    #[test]
    fn the_defaults_are_in_range() {
        assert_eq!(check(&Settings::default()), Ok(()));
    }

    #[test]
    fn each_range_ends_where_it_says() {
        assert_eq!(in_range("feed.position_ms", 1000, 1..=1000), Ok(()));
        assert!(in_range("feed.position_ms", 1001, 1..=1000).is_err());
        assert!(in_range("feed.position_ms", 0, 1..=1000).is_err());
    }

    #[test]
    fn c2_a_position_cannot_be_later_than_promised() {
        let mut settings = Settings::default();
        settings.feed.position_ms = 1001;
        assert!(matches!(check(&settings), Err(OutOfRange::Range { key: "feed.position_ms", .. })));
        settings.feed.position_ms = 1000;
        settings.feed.idle_position_secs = 61;
        assert!(matches!(check(&settings), Err(OutOfRange::Range { key: "feed.idle_position_secs", .. })));
    }

    #[test]
    fn settings_that_do_not_fit_together_are_named_both() {
        let limits = LimitSettings { max_entry_bytes: 2 * 1024 * 1024, ..LimitSettings::default() };
        let text = check(&Settings { limits, ..Settings::default() }).unwrap_err().to_string();
        assert!(
            text.contains("`limits.max_entry_bytes`") && text.contains("`limits.max_frame_bytes`"),
            "{text}"
        );
        let limits = LimitSettings { recommended_batch: 1001, ..LimitSettings::default() };
        assert!(check(&Settings { limits, ..Settings::default() }).is_err());
    }

    #[test]
    fn an_empty_key_is_no_key() {
        let mut settings = Settings::default();
        settings.auth.hs256_secret = Some(Secret::new(""));
        assert_eq!(check(&settings), Err(OutOfRange::Empty { key: "auth.hs256_secret" }));
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_named_without_its_value() {
        let mut settings = Settings::default();
        settings.trace.headers = [("x-key".to_owned(), Secret::new("good"))].into();
        assert_eq!(check(&settings), Ok(()));
        for (name, value) in [("x key", "hunter2"), ("x-key", "hunter2\n")] {
            settings.trace.headers = [(name.to_owned(), Secret::new(value))].into();
            let text = check(&settings).unwrap_err().to_string();
            assert!(text.contains(name) && !text.contains("hunter2"), "{text}");
        }
        settings.trace =
            TraceSettings { endpoint: Some("collector:4318".into()), ..TraceSettings::default() };
        assert_eq!(check(&settings), Err(OutOfRange::TraceEndpoint));
    }

    #[test]
    fn a_log_level_is_a_level_or_module_and_level() {
        for good in ["info", "off", "warn,synchub::session=debug", "TRACE"] {
            assert!(tracing_subscriber::EnvFilter::try_new(good).is_ok(), "{good}");
            assert_eq!(log_level(good), Ok(()), "{good}");
        }
        for bad in ["verbose", "", "info,", "synchub", "synchub=", "info,hyper=loud", "info, debug"] {
            assert!(log_level(bad).is_err(), "{bad}");
        }
    }
}
