// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use kube_fenced_election::clock::{Clock, Instant, SystemClock};

use super::presence::{Presence, Room, Turn};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn three_changes_without_a_cause_make_an_adapter_unstable_until_it_is_calm() {
    let (mut presence, start) = (Presence::default(), SystemClock.instant());
    let mut now = start;
    let mut calms = Vec::new();
    for _ in 0..6 {
        let mut turn = Turn::Same;
        let mut shown = true;
        for _ in 0..10 {
            turn = presence.note(shown, false, now);
            if turn == Turn::Unstable {
                break;
            }
            (shown, now) = (!shown, now + SECOND * 10);
        }
        assert_eq!(turn, Turn::Unstable);
        now += SECOND * 10;
        presence.note(false, false, now);
        presence.note(true, false, now);
        calms.push(presence.unstable_for(now).unwrap().as_secs());
        now += SECOND * 20;
        // A break: it begins again.
        presence.note(false, false, now);
        presence.note(true, false, now);
        let left = presence.unstable_for(now).unwrap();
        assert_eq!(left.as_secs(), *calms.last().unwrap());
        presence.note(true, false, now + left / 2);
        now += left;
        assert_eq!(presence.unstable_for(now), None);
        presence.note(true, false, now);
    }
    assert_eq!(calms, [60, 120, 240, 480, 600, 600]);
}

#[test]
fn changes_with_a_cause_and_rare_ones_do_not_count() {
    let (mut presence, mut now) = (Presence::default(), SystemClock.instant());
    presence.note(true, false, now);
    for shown in [false, true].repeat(10) {
        assert_eq!(presence.note(shown, true, now), Turn::Same);
    }
    for shown in [false, true].repeat(10) {
        now += SECOND * 301;
        assert_ne!(presence.note(shown, false, now), Turn::Unstable);
    }
}

#[test]
fn reloads_after_evictions_keep_their_distance() {
    let (mut room, start) = (Room::default(), SystemClock.instant());
    let mut now: Instant = start;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let (_, retry_at) = room.evicted("c", ["a", "b"].into_iter(), now);
        waits.push(room.wait(retry_at, now).as_secs());
        now = retry_at;
        room.reloaded(now);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(room.text(), "the engine keeps 2 adapters: a, b and c take turns");
    // Two that wait do not go together.
    let (_, one) = room.evicted("a", ["b", "c"].into_iter(), now);
    let (_, other) = room.evicted("b", ["a", "c"].into_iter(), now);
    assert_eq!((one, other), (now + SECOND * 300, now + SECOND * 600));
    // Room is taken at once, but not more than twenty times an hour.
    room.shows(1);
    assert!(!room.is_full(now));
    assert_eq!(room.wait(other, now), Duration::ZERO);
    for _ in 0..20 {
        room.reloaded(now);
    }
    assert_eq!(room.wait(other, now), SECOND * 3600);
    assert!(!room.is_recent(now + SECOND * 3600));
}
