use super::{Charge, Key, Local, Rate};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{advance, sleep};

const fn rate(limit: u64, burst: u64, seconds: u64) -> Rate {
    Rate { limit, burst, window: Duration::from_secs(seconds) }
}

fn charge(value: &str, rate: Rate) -> Charge {
    Charge { key: Key::of("test", value), rate }
}

/// Whether one more passes, how many are left, and how long to wait.
fn one(local: &Local, charge: Charge) -> (bool, u64, u64) {
    let told = local.charge(&[charge]).unwrap();
    (told.wait.is_none(), told.remaining, told.wait.unwrap_or_default().as_secs())
}

#[tokio::test(start_paused = true)]
async fn the_limit_and_the_burst_pass_at_once_and_then_one_by_one() {
    let local = Local::with(1000);
    let charge = charge("a", rate(4, 2, 60));
    for left in (0..6).rev() {
        assert_eq!(one(&local, charge), (true, left, 0));
    }
    assert_eq!(one(&local, charge), (false, 0, 15));
    advance(Duration::from_secs(14)).await;
    assert_eq!(one(&local, charge), (false, 0, 1));
    advance(Duration::from_secs(1)).await;
    assert_eq!(one(&local, charge), (true, 0, 0));
    assert!(!one(&local, charge).0, "a refused request costs nothing, and neither does it give anything");
    advance(Duration::from_secs(90)).await;
    let told = local.charge(&[charge]).unwrap();
    assert_eq!((told.limit, told.remaining, told.reset.as_secs()), (4, 5, 15), "whole again");
}

#[tokio::test(start_paused = true)]
async fn values_and_scopes_have_limits_of_their_own() {
    let local = Local::with(1000);
    let rate = rate(1, 0, 60);
    assert!(one(&local, charge("a", rate)).0);
    assert!(one(&local, charge("b", rate)).0);
    assert!(!one(&local, charge("a", rate)).0);
    assert!(one(&local, Charge { key: Key::of("other", "a"), rate }).0);
    assert_ne!(Key::of("a", "b/c"), Key::of("a/b", "c"));
}

#[tokio::test(start_paused = true)]
async fn of_several_limits_all_are_charged_or_none() {
    let local = Local::with(1000);
    let (wide, narrow) = (charge("wide", rate(10, 0, 60)), charge("narrow", rate(2, 0, 60)));
    for _ in 0..2 {
        assert!(local.charge(&[wide, narrow]).unwrap().wait.is_none());
    }
    for _ in 0..5 {
        let told = local.charge(&[wide, narrow]).unwrap();
        assert_eq!((told.limit, told.remaining, told.wait.unwrap().as_secs()), (2, 0, 30));
    }
    assert_eq!(one(&local, wide), (true, 7, 0), "the others were given back");
}

#[tokio::test(start_paused = true)]
async fn nothing_passes_a_limit_of_nothing() {
    let local = Local::with(1000);
    let told = local.charge(&[charge("a", rate(0, 0, 60))]).unwrap();
    assert_eq!((told.limit, told.wait), (0, Some(Duration::from_secs(60))));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_values_is_bounded_and_what_is_whole_again_is_forgotten() {
    let (local, running) = Local::open();
    let purging = tokio::spawn(running);
    for number in 0..200_000 {
        assert!(one(&local, charge(&number.to_string(), rate(10, 0, 10))).0, "nobody is locked out");
    }
    assert!(local.len() <= super::local::MOST_VALUES, "{}", local.len());
    sleep(Duration::from_secs(30)).await;
    assert_eq!(local.len(), 0);
    drop(local);
    purging.await.unwrap();
}

#[test]
fn threads_together_get_no_more_than_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let local = runtime.block_on(async { Arc::new(Local::with(1000)) });
    let charge = charge("a", rate(1000, 0, 86_400));
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| (0..1000).filter(|_| local.charge(&[charge]).unwrap().wait.is_none()).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 1000);
}

proptest! {
    /// Whatever the pace, in no stretch of time more pass than the burst, the limit and what came back meanwhile.
    #[test]
    fn never_more_pass_than_may(
        limit in 1_u64..50,
        burst in 0_u64..20,
        pauses in prop::collection::vec(0_u64..3000, 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let local = Local::with(1000);
            let charge = charge("a", rate(limit, burst, 10));
            let (mut passed, mut elapsed) = (0, 0);
            for pause in pauses {
                advance(Duration::from_millis(pause)).await;
                elapsed = u64::saturating_add(elapsed, pause);
                passed = u64::saturating_add(passed, local.charge(&[charge]).unwrap().wait.is_none().into());
                let back = limit.saturating_mul(elapsed).div_ceil(10_000);
                prop_assert!(passed <= [limit, burst, back].iter().sum());
            }
            Ok(())
        })?;
    }
}
