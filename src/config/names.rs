//! Every setting's two names: its key in the file and its variable in the environment.
//!
//! The table is written out because no rule can tell `data_dir` from `data.dir` in a variable.

/// One setting's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingName {
    /// The key in the file, with its section: `limits.max_frame_bytes`.
    pub key: &'static str,
    /// The environment variable: `SYNCHUB_LIMITS_MAX_FRAME_BYTES`.
    pub variable: &'static str,
}

/// The variable that names the file itself, as `--config` does.
pub const CONFIG_VARIABLE: &str = "SYNCHUB_CONFIG";

/// What every variable begins with.
pub(super) const PREFIX: &str = "SYNCHUB_";

const fn name(key: &'static str, variable: &'static str) -> SettingName {
    SettingName { key, variable }
}

/// All settings, in the order of the reference page.
pub const NAMES: [SettingName; 86] = [
    name("listen", "SYNCHUB_LISTEN"),
    name("data_dir", "SYNCHUB_DATA_DIR"),
    name("domains_dir", "SYNCHUB_DOMAINS_DIR"),
    name("ack_flush_secs", "SYNCHUB_ACK_FLUSH_SECS"),
    name("compression", "SYNCHUB_COMPRESSION"),
    name("store.url", "SYNCHUB_STORE_URL"),
    name("bus.url", "SYNCHUB_BUS_URL"),
    name("auth.hs256_secret", "SYNCHUB_AUTH_HS256_SECRET"),
    name("auth.issuer", "SYNCHUB_AUTH_ISSUER"),
    name("auth.audience", "SYNCHUB_AUTH_AUDIENCE"),
    name("auth.leeway_secs", "SYNCHUB_AUTH_LEEWAY_SECS"),
    name("auth.keys", "SYNCHUB_AUTH_KEYS"),
    name("auth.jwks_url", "SYNCHUB_AUTH_JWKS_URL"),
    name("auth.jwks_file", "SYNCHUB_AUTH_JWKS_FILE"),
    name("auth.jwks_refresh_secs", "SYNCHUB_AUTH_JWKS_REFRESH_SECS"),
    name("auth.jwks_retry_secs", "SYNCHUB_AUTH_JWKS_RETRY_SECS"),
    name("limits.max_frame_bytes", "SYNCHUB_LIMITS_MAX_FRAME_BYTES"),
    name("limits.max_entry_bytes", "SYNCHUB_LIMITS_MAX_ENTRY_BYTES"),
    name("limits.max_batch_entries", "SYNCHUB_LIMITS_MAX_BATCH_ENTRIES"),
    name("limits.max_in_flight", "SYNCHUB_LIMITS_MAX_IN_FLIGHT"),
    name("limits.recommended_batch", "SYNCHUB_LIMITS_RECOMMENDED_BATCH"),
    name("limits.max_connections", "SYNCHUB_LIMITS_MAX_CONNECTIONS"),
    name("limits.hello_timeout_secs", "SYNCHUB_LIMITS_HELLO_TIMEOUT_SECS"),
    name("limits.heartbeat_secs", "SYNCHUB_LIMITS_HEARTBEAT_SECS"),
    name("limits.max_subscriptions", "SYNCHUB_LIMITS_MAX_SUBSCRIPTIONS"),
    name("rates.burst_secs", "SYNCHUB_RATES_BURST_SECS"),
    name("rates.refusals", "SYNCHUB_RATES_REFUSALS"),
    name("rates.refusal_secs", "SYNCHUB_RATES_REFUSAL_SECS"),
    name("rates.proxies", "SYNCHUB_RATES_PROXIES"),
    name("rates.address_connections", "SYNCHUB_RATES_ADDRESS_CONNECTIONS"),
    name("rates.address_hellos", "SYNCHUB_RATES_ADDRESS_HELLOS"),
    name("rates.device_hellos", "SYNCHUB_RATES_DEVICE_HELLOS"),
    name("rates.device_frames", "SYNCHUB_RATES_DEVICE_FRAMES"),
    name("rates.device_entries", "SYNCHUB_RATES_DEVICE_ENTRIES"),
    name("rates.device_bytes", "SYNCHUB_RATES_DEVICE_BYTES"),
    name("rates.user_frames", "SYNCHUB_RATES_USER_FRAMES"),
    name("rates.user_entries", "SYNCHUB_RATES_USER_ENTRIES"),
    name("rates.user_bytes", "SYNCHUB_RATES_USER_BYTES"),
    name("rates.publisher_frames", "SYNCHUB_RATES_PUBLISHER_FRAMES"),
    name("rates.publisher_entries", "SYNCHUB_RATES_PUBLISHER_ENTRIES"),
    name("rates.publisher_bytes", "SYNCHUB_RATES_PUBLISHER_BYTES"),
    name("rates.operator_frames", "SYNCHUB_RATES_OPERATOR_FRAMES"),
    name("rates.operator_entries", "SYNCHUB_RATES_OPERATOR_ENTRIES"),
    name("rates.operator_bytes", "SYNCHUB_RATES_OPERATOR_BYTES"),
    name("rates.tenant_connections", "SYNCHUB_RATES_TENANT_CONNECTIONS"),
    name("rates.tenant_frames", "SYNCHUB_RATES_TENANT_FRAMES"),
    name("rates.tenant_entries", "SYNCHUB_RATES_TENANT_ENTRIES"),
    name("rates.tenant_bytes", "SYNCHUB_RATES_TENANT_BYTES"),
    name("rates.tenant_replayed", "SYNCHUB_RATES_TENANT_REPLAYED"),
    name("rates.tenants", "SYNCHUB_RATES_TENANTS"),
    name("admission.busy_percent", "SYNCHUB_ADMISSION_BUSY_PERCENT"),
    name("admission.full_percent", "SYNCHUB_ADMISSION_FULL_PERCENT"),
    name("admission.slow_commit_ms", "SYNCHUB_ADMISSION_SLOW_COMMIT_MS"),
    name("feed.tail_bytes", "SYNCHUB_FEED_TAIL_BYTES"),
    name("feed.lane_bytes", "SYNCHUB_FEED_LANE_BYTES"),
    name("feed.position_ms", "SYNCHUB_FEED_POSITION_MS"),
    name("feed.idle_position_secs", "SYNCHUB_FEED_IDLE_POSITION_SECS"),
    name("feed.changes_per_sec", "SYNCHUB_FEED_CHANGES_PER_SEC"),
    name("push.per_minute", "SYNCHUB_PUSH_PER_MINUTE"),
    name("push.ttl_secs", "SYNCHUB_PUSH_TTL_SECS"),
    name("push.queue", "SYNCHUB_PUSH_QUEUE"),
    name("catch_up.page_rows", "SYNCHUB_CATCH_UP_PAGE_ROWS"),
    name("catch_up.page_bytes", "SYNCHUB_CATCH_UP_PAGE_BYTES"),
    name("catch_up.permits", "SYNCHUB_CATCH_UP_PERMITS"),
    name("commit.group_batches", "SYNCHUB_COMMIT_GROUP_BATCHES"),
    name("commit.group_entries", "SYNCHUB_COMMIT_GROUP_ENTRIES"),
    name("retention.log_days", "SYNCHUB_RETENTION_LOG_DAYS"),
    name("retention.batch_hours", "SYNCHUB_RETENTION_BATCH_HOURS"),
    name("retention.review_days", "SYNCHUB_RETENTION_REVIEW_DAYS"),
    name("retention.rows", "SYNCHUB_RETENTION_ROWS"),
    name("retention.every_secs", "SYNCHUB_RETENTION_EVERY_SECS"),
    name("record.file", "SYNCHUB_RECORD_FILE"),
    name("record.masked", "SYNCHUB_RECORD_MASKED"),
    name("drain.secs", "SYNCHUB_DRAIN_SECS"),
    name("drain.reconnect_ms", "SYNCHUB_DRAIN_RECONNECT_MS"),
    name("drain.finish_secs", "SYNCHUB_DRAIN_FINISH_SECS"),
    name("log.format", "SYNCHUB_LOG_FORMAT"),
    name("log.level", "SYNCHUB_LOG_LEVEL"),
    name("trace.endpoint", "SYNCHUB_TRACE_ENDPOINT"),
    name("trace.sample_one_in", "SYNCHUB_TRACE_SAMPLE_ONE_IN"),
    name("trace.service_name", "SYNCHUB_TRACE_SERVICE_NAME"),
    name("trace.headers", "SYNCHUB_TRACE_HEADERS"),
    name("device_priority.desktop", "SYNCHUB_DEVICE_PRIORITY_DESKTOP"),
    name("device_priority.laptop", "SYNCHUB_DEVICE_PRIORITY_LAPTOP"),
    name("device_priority.tablet", "SYNCHUB_DEVICE_PRIORITY_TABLET"),
    name("device_priority.phone", "SYNCHUB_DEVICE_PRIORITY_PHONE"),
];

/// The key of a variable.
pub(super) fn key_of(variable: &str) -> Option<&'static str> {
    NAMES.iter().find(|known| known.variable == variable).map(|known| known.key)
}

/// Whether `key` is a setting.
pub(super) fn is_setting(key: &str) -> bool {
    NAMES.iter().any(|known| known.key == key)
}

/// Whether `key` is a section of settings.
pub(super) fn is_section(key: &str) -> bool {
    NAMES.iter().any(|known| section(known.key) == Some(key))
}

/// The keys that stand beside `key`, for an error that says what would be right.
pub(super) fn neighbours(key: &str) -> String {
    let wanted = section(key).filter(|name| is_section(name));
    let beside = NAMES.iter().map(|known| known.key).filter(|known| section(known) == wanted);
    let mut names: Vec<_> = beside.map(|known| format!("`{known}`")).collect();
    if wanted.is_none() {
        let mut sections: Vec<_> = NAMES.iter().filter_map(|known| section(known.key)).collect();
        sections.dedup();
        names.extend(sections.iter().map(|name| format!("`[{name}]`")));
    }
    names.join(", ")
}

fn section(key: &str) -> Option<&str> {
    key.split_once('.').map(|(section, _)| section)
}
