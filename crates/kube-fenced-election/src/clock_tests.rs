// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use crate::clock::{Clock, SystemClock};

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
