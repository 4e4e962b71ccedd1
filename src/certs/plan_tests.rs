// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use kube_fenced_election::clock::{Clock as _, Instant, SystemClock};

use super::{
    bundle::Entry,
    plan::{CertificateSource, OVERLAP, PERIOD, Plan, SETTLE, Step, plan},
    rotation::{CA_CERTIFICATE, Pair, Reason, Renewal, SecretContents},
    snapshot::{Configuration, Lookup, Snapshot},
    state::ReplicaState,
    testing::{NOW, days},
    x509::{Authority, Fault, Fingerprint},
};

const OLD: Fingerprint = Fingerprint::numbered(1);
const NEW: Fingerprint = Fingerprint::numbered(2);
const OTHER: Fingerprint = Fingerprint::numbered(3);

fn authority(fingerprint: Fingerprint) -> Authority {
    Authority { fingerprint, not_after: NOW + days(1000) }
}

fn pair(leaf: u8, authority: Fingerprint) -> Pair {
    Pair { leaf: Fingerprint::numbered(leaf), authority: Some(authority), not_after: NOW + days(300) }
}

/// The server certificate that belongs to this CA.
fn own(ca: Fingerprint) -> Pair {
    pair(if ca == OLD { 10 } else { 11 }, ca)
}

fn reason() -> Reason {
    Reason { key: CA_CERTIFICATE, fault: Fault::Missing }
}

fn held(renewal: Renewal, ca: Option<Fingerprint>) -> SecretContents {
    SecretContents { renewal, authority: ca.map(authority), pair: ca.map(own) }
}

fn sound(ca: Fingerprint) -> Lookup<SecretContents> {
    Lookup::Found(held(Renewal::Nothing, Some(ca)))
}

fn entry(fingerprints: &[Fingerprint]) -> Entry {
    Entry { ours: true, authorities: fingerprints.iter().map(|it| authority(*it)).collect(), foul: false }
}

fn looked(secret: Lookup<SecretContents>, first: &[Fingerprint], second: &[Fingerprint]) -> Snapshot {
    let configuration = |title: &str, fingerprints: &[Fingerprint]| Configuration {
        title: title.to_owned(),
        entries: Lookup::Found(vec![entry(fingerprints)]),
    };
    let configurations = vec![configuration("mutating", first), configuration("validating", second)];
    Snapshot { secret, configurations, files: None }
}

/// A replica that has seen this for a while.
fn after(seen: &Snapshot, mut memory: ReplicaState, time: Duration) -> Plan {
    let start = SystemClock.instant();
    memory.update(seen, start);
    let at: Instant = start + time;
    memory.update(seen, at);
    plan(seen, &memory, NOW, at)
}

fn at_once(seen: &Snapshot, memory: ReplicaState) -> Plan {
    after(seen, memory, Duration::ZERO)
}

fn serving(ca: Fingerprint) -> ReplicaState {
    ReplicaState { serving: Some(own(ca)), ..ReplicaState::default() }
}

fn all(fingerprints: &[Fingerprint]) -> Option<Step> {
    let bundles = || [(0, fingerprints.to_vec())].into();
    Some(Step::Publish([(0, bundles()), (1, bundles())].into()))
}

/// Only the entry of this configuration is to be written.
fn only(configuration: usize, fingerprints: &[Fingerprint]) -> Option<Step> {
    Some(Step::Publish([(configuration, [(0, fingerprints.to_vec())].into())].into()))
}

#[test]
fn nothing_is_changed_where_everything_fits() {
    let seen = looked(sound(OLD), &[OLD], &[OLD]);
    let plan = at_once(&seen, serving(OLD));
    assert_eq!((plan.step, plan.serve, plan.readiness, plan.wait), (None, None, Ok(()), PERIOD));
}

#[test]
fn missing_secret_is_created_and_keeps_the_process_unready() {
    let plan = at_once(&looked(Lookup::NotFound, &[], &[]), ReplicaState::default());
    assert_eq!(plan.step, Some(Step::CreateSecret));
    assert_eq!(plan.readiness, Err("the Secret does not exist".to_owned()));
}

#[test]
fn secret_that_cannot_be_read_changes_nothing_and_what_is_served_stays() {
    let seen = looked(Lookup::Unknown("forbidden".to_owned()), &[OLD], &[OLD]);
    let plan = at_once(&seen, serving(OLD));
    assert_eq!((plan.step, plan.serve, plan.readiness), (None, None, Ok(())));
    assert_eq!(at_once(&seen, ReplicaState::default()).readiness, Err("forbidden".to_owned()));
}

#[test]
fn first_ca_is_stored_without_a_wait_because_nobody_trusts_another() {
    let seen = looked(Lookup::Found(held(Renewal::Authority(reason()), None)), &[], &[]);
    assert_eq!(at_once(&seen, ReplicaState::default()).step, Some(Step::MakeAuthority(reason())));
    let memory = ReplicaState { candidate: Some(authority(NEW)), ..ReplicaState::default() };
    assert_eq!(at_once(&seen, memory).step, Some(Step::StoreAuthority));
}

#[test]
fn stored_ca_is_published_in_every_entry() {
    let plan = at_once(&looked(sound(NEW), &[], &[]), ReplicaState::default());
    assert_eq!(plan.step, all(&[NEW]));
    assert_eq!(plan.serve, Some((CertificateSource::Secret, own(NEW))));
    assert_eq!(plan.readiness, Err("mutating does not carry the CA".to_owned()));
}

#[test]
fn new_ca_is_published_beside_the_old_one_before_it_is_stored() {
    let changing = || Lookup::Found(held(Renewal::Authority(reason()), Some(OLD)));
    let mut memory = serving(OLD);
    memory.candidate = Some(authority(NEW));
    let seen = looked(changing(), &[OLD], &[OLD]);
    assert_eq!(at_once(&seen, memory.clone()).step, all(&[OLD, NEW]));

    let published = looked(changing(), &[OLD, NEW], &[OLD, NEW]);
    let plan = at_once(&published, memory.clone());
    assert_eq!((plan.step, plan.wait, plan.readiness), (None, SETTLE, Ok(())));
    assert_eq!(after(&published, memory, SETTLE).step, Some(Step::StoreAuthority));
}

#[test]
fn candidate_that_somebody_takes_out_is_not_stored() {
    let seen = looked(Lookup::Found(held(Renewal::Authority(reason()), Some(OLD))), &[OLD, NEW], &[OLD]);
    let mut memory = serving(OLD);
    memory.candidate = Some(authority(NEW));
    assert_eq!(after(&seen, memory, days(1)).step, only(1, &[OLD, NEW]));
}

#[test]
fn candidate_waits_while_a_configuration_cannot_be_read() {
    let mut seen = looked(Lookup::Found(held(Renewal::Authority(reason()), Some(OLD))), &[OLD, NEW], &[]);
    seen.configurations[1].entries = Lookup::Unknown("forbidden".to_owned());
    let mut memory = serving(OLD);
    memory.candidate = Some(authority(NEW));
    assert_eq!(after(&seen, memory, days(1)).step, None);
}

#[test]
fn expired_ca_is_no_reason_to_wait() {
    let mut seen = looked(Lookup::Found(held(Renewal::Authority(reason()), None)), &[OLD], &[OLD]);
    for configuration in &mut seen.configurations {
        let Lookup::Found(entries) = &mut configuration.entries else { panic!("read") };
        entries[0].authorities[0].not_after = NOW - Duration::from_secs(1);
    }
    let memory = ReplicaState { candidate: Some(authority(NEW)), ..ReplicaState::default() };
    assert_eq!(at_once(&seen, memory).step, Some(Step::StoreAuthority));
}

#[test]
fn new_certificate_is_served_when_its_ca_has_been_trusted_for_a_while() {
    let seen = looked(sound(NEW), &[OLD, NEW], &[OLD, NEW]);
    let plan = at_once(&seen, serving(OLD));
    assert_eq!((plan.serve, plan.step, plan.wait), (None, None, SETTLE));
    assert_eq!(after(&seen, serving(OLD), SETTLE).serve, Some((CertificateSource::Secret, own(NEW))));
}

#[test]
fn replica_that_starts_serves_what_the_secret_holds_at_once() {
    let seen = looked(sound(NEW), &[OLD, NEW], &[OLD, NEW]);
    let plan = at_once(&seen, ReplicaState::default());
    assert_eq!((plan.serve, plan.readiness), (Some((CertificateSource::Secret, own(NEW))), Ok(())));
}

#[test]
fn certificate_whose_ca_nobody_trusts_any_more_is_replaced_at_once() {
    // A Go manager has rotated: it publishes the new CA alone.
    let plan = at_once(&looked(sound(NEW), &[NEW], &[NEW]), serving(OLD));
    assert_eq!(plan.serve, Some((CertificateSource::Secret, own(NEW))));
}

#[test]
fn certificate_from_the_same_ca_is_served_at_once() {
    let mut memory = serving(OLD);
    memory.serving = Some(pair(9, OLD));
    let plan = at_once(&looked(sound(OLD), &[OLD], &[OLD]), memory);
    assert_eq!(plan.serve, Some((CertificateSource::Secret, own(OLD))));
}

#[test]
fn old_ca_is_dropped_after_ten_minutes() {
    let seen = looked(sound(NEW), &[OLD, NEW], &[OLD, NEW]);
    let plan = after(&seen, serving(NEW), OVERLAP.saturating_sub(Duration::from_secs(1)));
    assert_eq!((plan.step, plan.wait), (None, Duration::from_secs(1)));
    assert_eq!(after(&seen, serving(NEW), OVERLAP).step, all(&[NEW]));
}

#[test]
fn old_ca_is_dropped_when_it_has_expired() {
    let mut seen = looked(sound(NEW), &[OLD, NEW], &[NEW]);
    let Lookup::Found(entries) = &mut seen.configurations[0].entries else { panic!("read") };
    entries[0].authorities[0].not_after = NOW - Duration::from_secs(1);
    assert_eq!(at_once(&seen, serving(NEW)).step, only(0, &[NEW]));
}

#[test]
fn old_ca_is_kept_as_long_as_this_replica_needs_it() {
    let mut seen = looked(sound(NEW), &[OLD, NEW], &[OLD]);
    let Lookup::Found(held) = &mut seen.secret else { panic!("read") };
    held.pair = None;
    assert_eq!(after(&seen, serving(OLD), days(1)).step, only(1, &[OLD, NEW]));
}

#[test]
fn entry_that_was_cleared_gets_everything_that_the_others_trust() {
    let plan = at_once(&looked(sound(NEW), &[OLD, NEW], &[]), serving(NEW));
    assert_eq!(plan.step, only(1, &[OLD, NEW]));
}

/// Its maker has given a candidate up and takes it out of one configuration after the other.
#[test]
fn ca_that_is_being_taken_out_is_not_brought_back_from_the_other_configuration() {
    assert_eq!(at_once(&looked(sound(NEW), &[NEW], &[NEW, OTHER]), serving(NEW)).step, None);
    let first = at_once(&looked(sound(NEW), &[OLD], &[OLD, OTHER]), serving(OLD)).step;
    let bundles = [(0, [(0, vec![OLD, NEW])].into()), (1, [(0, vec![OLD, OTHER, NEW])].into())];
    assert_eq!(first, Some(Step::Publish(bundles.into())), "each keeps what it holds");
}

#[test]
fn entry_of_another_service_is_left_alone() {
    let mut seen = looked(sound(OLD), &[OLD], &[OTHER]);
    let Lookup::Found(entries) = &mut seen.configurations[1].entries else { panic!("read") };
    entries[0].ours = false;
    let plan = at_once(&seen, serving(OLD));
    assert_eq!((plan.step, plan.readiness), (None, Ok(())));
}

#[test]
fn entry_that_got_our_ca_when_it_was_empty_follows_it() {
    let mut seen = looked(sound(NEW), &[OLD, NEW], &[OLD, NEW]);
    let Lookup::Found(entries) = &mut seen.configurations[1].entries else { panic!("read") };
    entries[0].ours = false;
    assert_eq!(after(&seen, serving(NEW), OVERLAP).step, all(&[NEW]));
}

#[test]
fn candidate_of_the_loser_of_a_race_is_dropped() {
    let mut memory = serving(NEW);
    memory.candidate = Some(authority(OTHER));
    let plan = at_once(&looked(sound(NEW), &[NEW], &[NEW]), memory);
    assert!(plan.drop_candidate);
    assert_eq!(plan.step, None);
}

#[test]
fn candidate_that_lost_is_taken_out_at_once() {
    let mut memory = serving(NEW);
    memory.abandoned.insert(OTHER);
    assert_eq!(at_once(&looked(sound(NEW), &[NEW, OTHER], &[OTHER, NEW]), memory).step, all(&[NEW]));
}

#[test]
fn refused_write_is_not_tried_again_at_once_and_nothing_is_published_for_it() {
    let seen = looked(Lookup::Found(held(Renewal::Authority(reason()), Some(OLD))), &[OLD], &[OLD]);
    let mut memory = serving(OLD);
    memory.candidate = Some(authority(NEW));
    let hour = Duration::from_hours(1);
    memory.store_blocked_until = Some(SystemClock.instant() + hour);
    let plan = at_once(&seen, memory);
    assert_eq!(plan.step, None);
    assert!(plan.wait <= hour, "{:?}", plan.wait);
}

#[test]
fn configuration_that_is_missing_is_skipped() {
    let mut seen = looked(sound(OLD), &[OLD], &[]);
    seen.configurations[1].entries = Lookup::NotFound;
    let plan = at_once(&seen, ReplicaState::default());
    assert_eq!((plan.step, plan.readiness), (None, Ok(())));
}

#[test]
fn readiness_outlives_an_api_server_that_is_away() {
    let start = SystemClock.instant();
    let mut memory = serving(OLD);
    memory.update(&looked(sound(OLD), &[OLD], &[OLD]), start);
    let mut away = looked(Lookup::Unknown("away".to_owned()), &[], &[]);
    for configuration in &mut away.configurations {
        configuration.entries = Lookup::Unknown("away".to_owned());
    }
    memory.update(&away, start);
    assert_eq!(plan(&away, &memory, NOW, start).readiness, Ok(()));
    assert_eq!(plan(&away, &serving(OLD), NOW, start).readiness, Err("away".to_owned()));
}

#[test]
fn mounted_files_are_the_last_resort() {
    let mut seen = looked(Lookup::Unknown("forbidden".to_owned()), &[OLD], &[OLD]);
    seen.files = Some(pair(20, OLD));
    assert_eq!(
        at_once(&seen, ReplicaState::default()).serve,
        Some((CertificateSource::Files, pair(20, OLD)))
    );
    assert_eq!(at_once(&seen, serving(OLD)).serve, None, "what is served stays");
    seen.secret = sound(OLD);
    let plan = at_once(&seen, ReplicaState { serving: Some(pair(20, OLD)), ..ReplicaState::default() });
    assert_eq!(plan.serve, Some((CertificateSource::Secret, own(OLD))), "the Secret comes first");
}

#[test]
fn full_bundle_gets_no_further_candidate() {
    let strangers: Vec<Fingerprint> = (100..132).map(Fingerprint::numbered).collect();
    let seen = looked(Lookup::Found(held(Renewal::Authority(reason()), None)), &strangers, &strangers);
    let memory = ReplicaState { candidate: Some(authority(NEW)), ..ReplicaState::default() };
    assert_eq!(at_once(&seen, memory.clone()).step, None);
    // What came last is taken out in time, which makes room; the first ones may be needed.
    let want: Vec<Fingerprint> = strangers.iter().copied().take(8).chain([NEW]).collect();
    assert_eq!(after(&seen, memory, OVERLAP).step, all(&want));
}

#[test]
fn entry_with_garbage_gets_the_ca() {
    let mut seen = looked(sound(OLD), &[], &[OLD]);
    let Lookup::Found(entries) = &mut seen.configurations[0].entries else { panic!("read") };
    entries[0].foul = true;
    assert_eq!(at_once(&seen, serving(OLD)).step, only(0, &[OLD]));
}
