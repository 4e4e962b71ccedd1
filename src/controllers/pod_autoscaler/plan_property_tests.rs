// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;
use serde_json::json;

use super::{
    cases::{annotated, at, failed, pa, pods, ready_pods, seen, source},
    plan::plan,
    snapshot::Reading,
    state::State,
    world::{World, scale_of},
};
use crate::api::autoscaling::PodAutoscaler;

fn any_reading() -> impl Strategy<Value = Reading> {
    let value = prop_oneof![
        4 => (0.0..200.0_f64).prop_map(Ok),
        1 => Just(failed("down")),
        1 => any::<f64>().prop_map(Ok),
    ];
    prop_oneof![
        proptest::collection::vec(value.clone(), 0..5).prop_map(ready_pods),
        value.prop_map(Reading::Total),
    ]
}

fn any_pa() -> impl Strategy<Value = PodAutoscaler> {
    (0..3_i32, 0..20_i32, prop_oneof![Just("APA"), Just("KPA")], 1..4_usize, any::<bool>()).prop_map(
        |(min, more, strategy, sources, quick)| {
            let sources: Vec<_> = (0..sources).map(|i| source("pod", &format!("m{i}"), "30")).collect();
            let spec = json!({
                "minReplicas": min, "maxReplicas": min + more + 1, "scalingStrategy": strategy, "metricsSources": sources,
            });
            annotated(pa(spec), if quick { &[("scale-down-cooldown-window", "0s")] } else { &[] })
        },
    )
}

proptest! {
    #[test]
    fn readings_that_stay_as_they_are_lead_to_rest(
        // From 1: a target at 0 is left alone unless the spec names 0 as a bound.
        pa in any_pa(), replicas in 1..30_i32, readings in proptest::collection::vec(any_reading(), 3),
    ) {
        let (min, max) = (pa.spec.min_replicas.unwrap(), pa.spec.max_replicas);
        let readings: Vec<_> = readings.into_iter().take(pa.spec.metrics_sources.len()).collect();
        let mut world = World::new(pa, replicas);
        // Each step down takes a window of 30 rounds: after 60 without any step there is nothing to wait for.
        let (mut quiet, mut rounds) = (0, 0);
        while quiet < 60 {
            let (plan, _) = world.round(readings.clone());
            (quiet, rounds) = (if plan.steps.is_empty() { quiet + 1 } else { 0 }, rounds + 1);
            prop_assert!(rounds < 1500, "it never comes to rest");
        }
        let (status, at_rest) = (world.pa.status.clone(), world.replicas);
        prop_assert!((min..=max).contains(&at_rest), "{at_rest} of {min}..={max}");
        for _ in 0..40 {
            let taken = at(world.second);
            let (plan, told) = world.round(readings.clone());
            prop_assert_eq!(plan.remember.decided, Some(taken), "each round is decided");
            prop_assert_eq!(plan.steps, []);
            prop_assert_eq!(told.events, []);
            prop_assert_eq!(&told.status, &status);
        }
    }

    #[test]
    fn a_decision_stays_within_bounds(
        pa in any_pa(), replicas in 0..30_i32, rounds in proptest::collection::vec(proptest::collection::vec(any_reading(), 3), 1..40),
    ) {
        let (min, max) = (pa.spec.min_replicas.unwrap(), pa.spec.max_replicas);
        let count = pa.spec.metrics_sources.len();
        let mut world = World::new(pa, replicas);
        for readings in rounds {
            let (plan, _) = world.round(readings.into_iter().take(count).collect());
            if let Some((_, to, _)) = scale_of(&plan) {
                prop_assert!((min..=max).contains(&to), "{to} of {min}..={max}");
            }
        }
    }

    #[test]
    fn missing_values_never_scale_down(
        pa in any_pa(), replicas in 1..20_i32, known in proptest::collection::vec(30.0..200.0_f64, 0..3), rounds in 1..50_usize,
    ) {
        let (min, max) = (pa.spec.min_replicas.unwrap(), pa.spec.max_replicas);
        prop_assume!((min..=max).contains(&replicas));
        let count = pa.spec.metrics_sources.len();
        let mut world = World::new(pa, replicas);
        let mut values: Vec<_> = known.into_iter().map(Ok).collect();
        values.push(failed("down"));
        let mut before = world.replicas;
        for _ in 0..rounds {
            world.round(vec![ready_pods(values.clone()); count]);
            prop_assert!(world.replicas >= before);
            before = world.replicas;
        }
    }

    #[test]
    fn the_order_of_pods_does_not_matter(values in proptest::collection::vec(0.0..100.0_f64, 1..6), replicas in 1..6_i32) {
        let decide = |values: &[f64]| {
            let values: Vec<_> = values.iter().map(|value| Ok(*value)).collect();
            let pa = pa(json!({"metricsSources": [source("pod", "m", "30")]}));
            scale_of(&plan(&seen(pa, replicas, at(0), vec![ready_pods(values)]), &State::default(), at(0)))
        };
        let mut reversed = values.clone();
        reversed.reverse();
        prop_assert_eq!(decide(&values), decide(&reversed));
    }

    // scenario: hardening 51
    #[test]
    fn a_constant_load_is_followed_without_overshoot(
        total in 1..1000_u32, target in 1..50_u32, start in 1..60_i32, delay in 0..8_u32,
        strategy in prop_oneof![Just("APA"), Just("KPA")], answers in any::<bool>(),
    ) {
        let pa = pa(json!({
            "minReplicas": 1, "maxReplicas": 2000, "scalingStrategy": strategy,
            "metricsSources": [source("pod", "m", &target.to_string())],
        }));
        let mut world = World::new(pa, start);
        let need = i32::try_from(total.div_ceil(target)).unwrap();
        let (total, target) = (f64::from(total), f64::from(target));
        let steps = |factor: f64| factor.log2().ceil().max(0.0);
        let up = steps(f64::from(need) / f64::from(start)) + 2.0 + f64::from(delay);
        // A cooldown of 300 s and the round that ends it, for each halving.
        let down = (steps(f64::from(start) / f64::from(need)) + 1.0) * 31.0;
        // The round in which each pod becomes ready.
        let mut ready_at = vec![0; usize::try_from(start).unwrap()];
        let (mut round, mut changed) = (0_u32, 0_u32);
        while round < changed + 40 {
            let is_ready = |at: &u32| *at <= round;
            let ready = ready_at.iter().filter(|at| is_ready(at)).count();
            let share = total / f64::from(u32::try_from(ready).unwrap());
            let starting = || if answers { Ok(0.0) } else { failed("not yet") };
            let reading = |at: &u32| if is_ready(at) { (true, Ok(share)) } else { (false, starting()) };
            let before = world.replicas;
            world.round(vec![pods(ready_at.iter().map(reading).collect::<Vec<_>>())]);
            round += 1;
            if world.replicas != before {
                changed = round;
            }
            prop_assert!(world.replicas <= start.max(need + 1), "{} where {need} are needed", world.replicas);
            let bound = if need > start { up } else { down };
            prop_assert!(f64::from(changed) <= bound, "after {changed} rounds: {} of {need}", world.replicas);
            ready_at.resize(usize::try_from(world.replicas).unwrap(), round + delay);
        }
        let each = total / f64::from(world.replicas);
        let with_one_less = total / f64::from((world.replicas - 1).max(1));
        prop_assert!(each <= target * 1.1 + 1e-9, "{each} for each of {}", world.replicas);
        // Replicas are whole: one less may be too few.
        prop_assert!(each >= target * 0.9 - 1e-9 || with_one_less > target || world.replicas == 1, "{each}");
    }
}
