//! The levels hold together, apart from each other, and are forgotten.

use super::*;
use crate::clock::ManualClock;

const SECOND_US: i64 = 1_000_000;

fn limits(change: impl FnOnce(&mut RateSettings)) -> (Arc<Limits>, Arc<ManualClock>) {
    let clock = ManualClock::at(0);
    let mut settings = RateSettings { burst_secs: 1, ..RateSettings::unlimited() };
    change(&mut settings);
    (Limits::new(settings, clock.clone()).unwrap(), clock)
}

fn party(role: Role, tenant: &str, user: i64, device: i64) -> Party<'_> {
    Party { role, tenant, tenant_no: i64::from(tenant.as_bytes()[0]), user, device }
}

fn ip(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

#[test]
fn ws7_each_level_holds_and_none_touches_another() {
    let (limits, clock) = limits(|rates| {
        (rates.device_frames, rates.user_frames, rates.tenant_frames) = (2, 3, 4);
    });
    let of = |tenant, user, device| limits.allowance(party(Role::Device, tenant, user, device), None);
    let (first, second) = (of("acme", 1, 1), of("acme", 1, 2));
    assert!(first.frames(1, 10).is_ok() && first.frames(1, 10).is_ok());
    assert_eq!(first.frames(1, 10).unwrap_err().retry_after_ms(), 500, "the device's");
    assert!(second.frames(1, 10).is_ok());
    assert_eq!(second.frames(1, 10).unwrap_err().retry_after_ms(), 334, "the user's");
    let other = of("acme", 2, 3);
    assert!(other.frames(1, 10).is_ok());
    assert_eq!(other.frames(1, 10).unwrap_err().retry_after_ms(), 250, "the tenant's");
    assert!(of("bolt", 1, 4).frames(2, 10).is_ok(), "another tenant goes on");
    clock.advance(SECOND_US / 4);
    assert!(other.frames(1, 10).is_ok());
}

#[test]
fn ws7_what_one_level_refuses_costs_nothing_at_the_others() {
    let (limits, _clock) = limits(|rates| (rates.device_entries, rates.tenant_entries) = (10, 15));
    let of = |device| limits.allowance(party(Role::Device, "acme", 1, device), None);
    let (first, second) = (of(1), of(2));
    assert!(first.entries(10).is_ok());
    for _ in 0..100 {
        assert!(first.entries(5).is_err());
    }
    assert!(second.entries(5).is_ok());
    assert!(second.entries(1).is_err());
}

#[test]
fn ws7_roles_and_tenants_have_rates_of_their_own() {
    let (limits, _clock) = limits(|rates| {
        (rates.device_frames, rates.publisher_bytes, rates.operator_entries) = (1, 100, 3);
        rates.tenants.insert("bolt".to_owned(), [(RateName::DeviceFrames, 5)].into());
        rates.tenants.insert("calm".to_owned(), [(RateName::DeviceFrames, 0)].into());
    });
    let of = |role, tenant| limits.allowance(party(role, tenant, 1, i64::from(tenant.as_bytes()[0])), None);
    let passed = |allowance: &Allowance| (0..9).filter(|_| allowance.frames(1, 1).is_ok()).count();
    assert_eq!(["acme", "bolt", "calm"].map(|tenant| passed(&of(Role::Device, tenant))), [1, 5, 9]);
    let publisher = of(Role::Publisher, "acme");
    assert_eq!(passed(&publisher), 9);
    assert!(publisher.frames(1, 91).is_ok() && publisher.frames(1, 1).is_err());
    assert!(of(Role::Publisher, "acme").frames(1, 1).is_err(), "its sockets count together");
    let operator = of(Role::Operator, "acme");
    assert!(operator.frames(9, 1000).is_ok() && operator.entries(3).is_ok() && operator.entries(1).is_err());
}

#[test]
fn ws7_a_device_that_reconnects_is_still_the_same() {
    let (limits, _clock) = limits(|rates| rates.device_entries = 10);
    let device = party(Role::Device, "acme", 1, 1);
    assert!(limits.allowance(device, None).entries(10).is_ok());
    assert!(limits.allowance(device, None).entries(1).is_err());
}

#[test]
fn ws7_hellos_are_held_by_address_and_by_device() {
    let (limits, clock) = limits(|rates| (rates.address_hellos, rates.device_hellos) = (2, 1));
    let address = |text| limits.address_hello(ip(text));
    assert!(address("2001:db8::1").is_ok() && address("2001:db8::2").is_ok());
    assert_eq!(address("2001:db8::3").unwrap_err().retry_after_ms(), 500);
    assert!(address("2001:db8:0:1::1").is_ok());
    let device = |user, device| limits.device_hello("acme", user, device);
    assert!(device("anna", "a").is_ok() && device("anna", "a").is_err());
    assert!(device("anna", "b").is_ok() && device("ben", "a").is_ok());
    clock.advance(SECOND_US);
    assert!(device("anna", "a").is_ok() && address("2001:db8::3").is_ok());
}

#[test]
fn ws7_who_is_refused_too_often_in_a_window_may_not_go_on() {
    let (limits, clock) = limits(|rates| (rates.refusals, rates.refusal_secs) = (3, 10));
    let mut allowance = limits.allowance(party(Role::Device, "acme", 1, 1), None);
    let mut refuse = |count: u64| (0..count).all(|_| allowance.may_go_on(Limited(Duration::from_secs(30))));
    assert!(refuse(1 + 16 + 3), "the first one is told, some were under way, three more come too early");
    clock.advance(10 * SECOND_US);
    assert!(refuse(3), "another window");
    clock.advance(9 * SECOND_US);
    assert!(!refuse(1));
}

#[test]
fn ws7_who_waits_as_told_may_be_refused_for_ever() {
    let (limits, clock) = limits(|rates| rates.refusals = 1);
    let mut allowance = limits.allowance(party(Role::Device, "acme", 1, 1), None);
    for _ in 0..1000 {
        assert!(allowance.may_go_on(Limited(Duration::from_millis(5))));
        clock.advance(5000);
    }
}

#[test]
fn ws7_an_honest_device_with_batches_under_way_gets_all_through_and_is_never_closed() {
    let (limits, clock) = limits(|rates| rates.device_entries = 1000);
    let mut allowance = limits.allowance(party(Role::Device, "acme", 1, 1), None);
    let (mut waiting, mut waits) = (1000, 0);
    while waiting > 0 {
        let sent: Vec<_> = (0..4.min(waiting)).map(|_| allowance.entries(100)).collect();
        waiting -= sent.iter().take_while(|taken| taken.is_ok()).count();
        for limited in sent.iter().filter_map(|taken| taken.err()) {
            assert!(allowance.may_go_on(limited), "after {waits} waits");
        }
        let longest =
            sent.iter().filter_map(|taken| taken.err()).map(|limited| limited.retry_after_ms()).max();
        clock.advance(i64::try_from(longest.unwrap_or(0)).unwrap() * 1000);
        waits += 1;
    }
    assert!((300..=1000).contains(&waits), "{waits} waits");
}

#[test]
fn ws7_a_clock_that_is_set_back_shuts_nobody_out() {
    let (limits, clock) = limits(|rates| rates.device_frames = 1);
    clock.set(1000 * SECOND_US);
    let allowance = limits.allowance(party(Role::Device, "acme", 1, 1), None);
    assert!(allowance.frames(1, 1).is_ok());
    clock.set(0);
    assert!(allowance.frames(1, 1).is_err());
    clock.advance(SECOND_US);
    assert!(allowance.frames(1, 1).is_ok());
}

#[test]
fn ws7_the_memory_of_limits_is_bounded_by_who_is_there() {
    let (limits, clock) = limits(|rates| *rates = RateSettings { burst_secs: 1, ..RateSettings::default() });
    let stays = limits.allowance(party(Role::Device, "acme", 0, 0), limits.join("acme", false));
    for number in 1..=5000_u32 {
        let (user, address) = (i64::from(number), IpAddr::from(number.to_be_bytes()).into());
        let _socket = limits.connect(address);
        limits.address_hello(address).unwrap();
        limits.device_hello("acme", &user.to_string(), "phone").unwrap();
        limits.allowance(party(Role::Device, "acme", user, user), None).frames(1, 100).unwrap();
    }
    // A tenant of its own, one as a holder and one that is sent things again, and the device and user that stay.
    assert_eq!(limits.keys(), 4 * 5000 + 5);
    assert_eq!(limits.forget_idle(), 4 * 5000 + 5, "what was used lately is kept");
    clock.advance(SECOND_US);
    assert_eq!(limits.forget_idle(), 5);
    assert!(limits.hellos.capacity() < 100 && limits.meters.capacity() < 100);
    drop(stays);
    assert_eq!(limits.forget_idle(), 0);
}

#[tokio::test(start_paused = true)]
async fn ws7_what_a_tenant_is_sent_again_has_one_rate_and_one_line() {
    let (limits, clock) = limits(|rates| rates.tenant_replayed = 10);
    let of = |tenant, device| limits.allowance(party(Role::Device, tenant, 1, device), None);
    let (one, other, elsewhere) = (of("acme", 1), of("acme", 2), of("bolt", 3));
    one.replays().take(9);
    assert!(!other.replays().is_over(), "one row fits");
    one.replays().take(5);
    one.replays().took(1, 5);
    assert!(one.replays().is_over() && other.replays().is_over() && !elsewhere.replays().is_over());
    let (mut first, mut second) = (Box::pin(one.replays().turn()), Box::pin(other.replays().turn()));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    drop(elsewhere.replays().turn().await);
    clock.advance(SECOND_US / 10);
    let turn = first.await;
    assert!(futures::poll!(&mut second).is_pending(), "the first one has its turn");
    drop(turn);
    drop(second.await);
    drop((one, other, elsewhere));
    assert!(limits.forget_idle() > 0, "what is used is not forgotten");
    clock.advance(SECOND_US);
    assert_eq!(limits.forget_idle(), 0);
}
