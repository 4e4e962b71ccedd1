// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use crate::clock::{Clock, Reading, Suspension, SystemClock};

#[tokio::test(start_paused = true)]
async fn monotonic_time_is_the_one_of_the_timers() {
    let start = SystemClock.instant();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(SystemClock.instant() - start, Duration::from_mins(1));
}

#[test]
fn both_clocks_go_on() {
    let (wall, monotonic) = (SystemClock.now(), SystemClock.instant());
    assert!(SystemClock.now() >= wall);
    assert!(SystemClock.instant() >= monotonic);
    assert!(wall.as_second() > 1_700_000_000, "{wall}");
}

#[test]
fn what_the_clock_of_timers_missed_is_added_once_and_for_good() {
    let reading = |running: u64, booted: u64| Reading {
        running: Duration::from_millis(running),
        booted: Duration::from_millis(booted),
    };
    let suspension = Suspension::default();
    assert_eq!(suspension.add(reading(1_000, 500_000)), Duration::ZERO);
    for (running, booted, total) in [
        (2_000, 501_000, 0),
        // Read one after the other.
        (3_000, 502_090, 0),
        // Suspended for 30 s.
        (4_000, 533_000, 30_000),
        (9_000, 538_050, 30_000),
        // A reading that came late counts too little: what is known stays.
        (9_000, 530_000, 30_000),
        (10_000, 540_500, 31_500),
    ] {
        assert_eq!(suspension.add(reading(running, booted)), Duration::from_millis(total), "{running}");
    }
}
