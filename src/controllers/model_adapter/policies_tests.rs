// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use rand::{SeedableRng, rngs::SmallRng};

use super::policies::{
    Candidate, Mean, Measured, bin_pack, latency_score, least_adapters, least_latency, least_throughput,
    random, throughput_score,
};

fn pods(models: &[usize]) -> Vec<Candidate> {
    let pod = |(i, models): (usize, &usize)| Candidate {
        name: format!("pod-{i}"),
        models: *models,
        measured: Measured::Missing,
    };
    models.iter().enumerate().map(pod).collect()
}

fn measured(scores: &[Measured]) -> Vec<Candidate> {
    let mut pods = pods(&vec![0; scores.len()]);
    pods.iter_mut().zip(scores).for_each(|(pod, score)| pod.measured = *score);
    pods
}

fn name(candidate: Option<&Candidate>) -> &str {
    candidate.map_or("none", |candidate| candidate.name.as_str())
}

#[test]
fn least_adapters_takes_the_emptiest_pod_and_of_equals_the_first_by_name() {
    assert_eq!(name(least_adapters(&pods(&[2, 0, 1]))), "pod-1");
    let mut equal = pods(&[1, 1, 1]);
    equal.reverse();
    assert_eq!(name(least_adapters(&equal)), "pod-0");
    assert_eq!(name(least_adapters(&[])), "none");
}

#[test]
fn bin_pack_takes_the_fullest_pod_with_room() {
    assert_eq!(name(bin_pack(&pods(&[9, 5, 10]))), "pod-0");
    assert_eq!(name(bin_pack(&pods(&[5, 5, 11]))), "pod-0");
    assert_eq!(name(bin_pack(&pods(&[10, 10, 10]))), "none");
}

#[test]
fn random_uses_every_pod() {
    let pods = pods(&[0, 0, 0]);
    let mut rng = SmallRng::seed_from_u64(7);
    let used: BTreeSet<_> = (0..60).map(|_| name(random(&pods, &mut rng))).collect();
    assert_eq!(used.len(), 3);
    assert_eq!(name(random(&[], &mut rng)), "none");
}

#[test]
fn the_lowest_score_wins_and_a_silent_pod_comes_last() {
    use Measured::{Missing, Score, Unreachable};
    for policy in [least_latency, least_throughput] {
        assert_eq!(name(policy(&measured(&[Score(2.0), Score(0.5), Score(1.0)]))), "pod-1");
        assert_eq!(name(policy(&measured(&[Unreachable, Score(9.0)]))), "pod-1");
        assert_eq!(name(policy(&measured(&[Score(f64::NAN), Score(9.0)]))), "pod-1");
        assert_eq!(name(policy(&measured(&[Score(1.0), Missing]))), "pod-1");
        assert_eq!(name(policy(&measured(&[Unreachable, Unreachable]))), "pod-0");
        assert_eq!(name(policy(&[])), "none");
    }
}

#[test]
fn without_any_throughput_the_emptiest_pod_wins() {
    assert_eq!(name(least_throughput(&pods(&[2, 1]))), "pod-1");
    assert_eq!(name(least_throughput(&measured(&[Measured::Unreachable, Measured::Missing]))), "pod-1");
}

#[test]
fn scores_follow_their_formulas() {
    let mean = |sum, count| Mean { sum, count };
    assert_eq!(latency_score(mean(6.0, 3.0), mean(1.0, 2.0)), 2.5);
    assert_eq!(latency_score(mean(6.0, 0.0), Mean::default()), 0.0);
    assert_eq!(throughput_score(10.0, 5.0), 25.0);
}
