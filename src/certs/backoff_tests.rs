// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use kube_fenced_election::clock::{Clock as _, SystemClock};

use super::backoff::{WriteBackoff, retry_delay};

#[test]
fn failures_double_the_wait_from_ten_milliseconds_to_thirty_seconds() {
    for (failures, millis) in [(1, 10), (2, 20), (3, 40), (10, 5120), (12, 20_480), (13, 30_000)] {
        assert_eq!(retry_delay(failures), Duration::from_millis(millis), "{failures}");
    }
    assert_eq!(retry_delay(u32::MAX), Duration::from_secs(30));
}

#[test]
fn writes_that_somebody_undoes_become_rare_and_free_again_later() {
    let (mut pace, start) = (WriteBackoff::default(), SystemClock.instant());
    for _ in 0..10 {
        assert_eq!(pace.write_delay(start), Duration::ZERO);
        pace.record_write(start);
    }
    assert_eq!(pace.write_delay(start), Duration::from_millis(100));
    pace.record_write(start);
    assert_eq!(pace.write_delay(start), Duration::from_millis(200));
    for _ in 0..60 {
        pace.record_write(start);
    }
    assert_eq!(pace.write_delay(start), Duration::from_secs(30));
    assert_eq!(pace.write_delay(start + Duration::from_secs(121)), Duration::ZERO);
}
