//! What the hub tells devices so that they ask for as much as line and hub can bear.

use synchub_protocol::client::NetworkQuality;

use super::deps::Deps;

/// How long a device is asked to wait at a load of 100 percent, in milliseconds, before chance is added.
const LONGEST_MS: u64 = 2000;
/// The least that is worth asking for.
const SHORTEST_MS: u64 = 100;

/// The batch size to recommend on a line of this quality: the whole of what is configured on an excellent one,
/// less on others, so that little has to be sent again when the line breaks.
pub(super) fn recommended_batch(configured: usize, quality: Option<&NetworkQuality>) -> u64 {
    let percent = match quality.map(NetworkQuality::as_str) {
        Some("good") => 50,
        Some("fair") => 25,
        Some("poor") => 10,
        _ => 100,
    };
    (configured as u64 * percent / 100).max(1)
}

/// How long the sender of a batch is to wait before the next one, in milliseconds; none while the hub is not
/// busy.
pub(super) fn backoff_ms(deps: &Deps) -> Option<u64> {
    let busy = deps.settings.admission.busy_percent;
    let least = backoff_at(deps.engine.load_percent(), busy)?;
    deps.metrics.backoffs.inc();
    Some(least + deps.entropy.below(least))
}

/// The least wait at a load, rising evenly from where the hub is busy.
fn backoff_at(percent: u64, busy: u64) -> Option<u64> {
    let above = percent.checked_sub(busy)?;
    let share = above.min(100) * 100 / (100_u64.saturating_sub(busy)).max(1);
    Some((LONGEST_MS * share.min(100) / 100).max(SHORTEST_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bw3_batches_get_smaller_with_the_line() {
        let of = |configured, word: &str| recommended_batch(configured, word.parse().ok().as_ref());
        assert_eq!(["excellent", "good", "fair", "poor"].map(|word| of(100, word)), [100, 50, 25, 10]);
        assert_eq!((of(100, "unknown"), of(100, "5G"), recommended_batch(100, None)), (100, 100, 100));
        assert_eq!((of(400, "good"), of(3, "poor")), (200, 1));
    }

    #[test]
    fn the_wait_rises_with_the_load() {
        let waits = [0, 49, 50, 75, 100, 900].map(|percent| backoff_at(percent, 50));
        assert_eq!(waits, [None, None, Some(100), Some(1000), Some(2000), Some(2000)]);
        assert_eq!(backoff_at(100, 100), Some(100));
    }
}
