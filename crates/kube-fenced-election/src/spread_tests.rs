// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use crate::clock::{Clock, Instant, SystemClock};

use super::spread::*;

fn held(count: u32, at: Instant) -> Vec<Held> {
    (0..count)
        .map(|n| Held {
            lease: format!("l{n}"),
            since: at + Duration::from_secs(n.into()),
            unwanted_until: None,
        })
        .collect()
}

fn peer(load: usize, at: Instant) -> Peer {
    Peer { seen_since: at, leaving: false, contends_for: None, load }
}

#[test]
fn whoever_leads_more_waits_longer_up_to_a_bound() {
    let waits = |wait: fn(usize) -> Duration| [0, 1, 3, 7, 100].map(|load| wait(load).as_millis());
    assert_eq!(waits(wait_for_free), [0, 200, 600, 1400, 1400]);
    assert_eq!(
        waits(wait_for_expired),
        [0, 80, 240, 560, 560],
        "less than the second that failover may take"
    );
}

#[test]
fn surplus_is_the_youngest_lease_of_whoever_leads_two_more() {
    let at = SystemClock.instant();
    let later = at + Duration::from_mins(1);
    for (mine, others, gives) in [
        (7, vec![0], true),
        (4, vec![3], false),
        (3, vec![3, 1], true),
        (3, vec![2, 2], false),
        (1, vec![0], false),
        (2, vec![0], true),
        (0, vec![7], false),
    ] {
        let peers: Vec<Peer> = others.iter().map(|load| peer(*load, at)).collect();
        let youngest = gives.then(|| format!("l{}", mine - 1));
        assert_eq!(
            surplus(&held(mine, at), &peers, None, later),
            youngest.as_deref(),
            "{mine} against {others:?}"
        );
    }
}

#[test]
fn nothing_is_given_to_whoever_is_new_or_leaving_or_elsewhere() {
    let at = SystemClock.instant();
    let later = at + Duration::from_secs(29);
    assert_eq!(surplus(&held(7, at), &[peer(0, at)], None, later), None);
    let later = at + Duration::from_mins(1);
    let leaving = Peer { leaving: true, ..peer(0, at) };
    assert_eq!(surplus(&held(7, at), &[leaving], None, later), None);
    let elsewhere = Peer { contends_for: Some(["l2".to_owned()].into()), ..peer(0, at) };
    assert_eq!(surplus(&held(7, at), &[elsewhere], None, later), Some("l2"));
}

#[test]
fn one_lease_is_given_per_half_minute_and_unwanted_ones_are_kept() {
    let at = SystemClock.instant();
    let later = at + Duration::from_mins(1);
    assert_eq!(surplus(&held(7, at), &[peer(0, at)], Some(at + Duration::from_secs(31)), later), None);
    let mut mine = held(3, at);
    mine[2].unwanted_until = Some(later + Duration::from_secs(1));
    assert_eq!(surplus(&mine, &[peer(0, at)], None, later), Some("l1"));
}

#[test]
fn rebalancing_ends_balanced_from_anywhere() {
    let at = SystemClock.instant();
    let later = at + Duration::from_mins(1);
    for start in [[7, 0, 0], [4, 3, 0], [3, 3, 1], [5, 1, 1], [0, 0, 7]] {
        let mut loads = start;
        for _ in 0..10 {
            for giver in 0..3 {
                let others = (0..3).filter(|peer| *peer != giver);
                let peers: Vec<Peer> = others.map(|other| peer(loads[other], at)).collect();
                let mine = held(u32::try_from(loads[giver]).unwrap(), at);
                if surplus(&mine, &peers, None, later).is_some() {
                    loads[giver] -= 1;
                    let least = (0..3).filter(|peer| *peer != giver).min_by_key(|peer| loads[*peer]).unwrap();
                    loads[least] += 1;
                }
            }
        }
        loads.sort_unstable();
        assert_eq!(loads, [2, 2, 3], "from {start:?}");
    }
}
