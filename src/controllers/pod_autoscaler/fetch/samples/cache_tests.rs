// SPDX-License-Identifier: Apache-2.0

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    controllers::pod_autoscaler::snapshot::{Reading, SampleError, Samples},
    engine::{
        exposition::{Combine, Families, Scanner},
        http::{Scheme, Target},
    },
};
use kube_fenced_election::clock::{Instant, Timestamp};
use kube_loops::runtime::{
    reconciler::Key,
    requests::{
        Job,
        runner::{Now, RequestBook as _},
    },
};

use super::{
    cache::{AT_ONCE, HEALTHY, MetricsCache, SLOW, Scrape},
    wanted::{Item, Origin, Pick, Value, Wanted, WantedPod},
};

const PERIOD: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(8);

/// A cache with a clock and with origins that answer at once when told to.
struct Bench {
    cache: MetricsCache,
    start: Instant,
    now: Duration,
    reads: BTreeMap<String, u32>,
}

impl Bench {
    fn new() -> Self {
        let start = kube_fenced_election::clock::Clock::instant(&kube_fenced_election::clock::SystemClock);
        Self { cache: MetricsCache::new(PERIOD, LONGEST), start, now: Duration::ZERO, reads: BTreeMap::new() }
    }

    fn at(&mut self, seconds: f64) -> &mut Self {
        self.now = Duration::from_secs_f64(seconds);
        self
    }

    fn now(&self) -> Now {
        let wall = Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(self.now).unwrap();
        Now { instant: self.start + self.now, wall }
    }

    fn ask(&mut self, key: &str, wanted: Vec<Wanted>) -> Samples {
        let now = self.now();
        self.cache.ask(&Key::new("ns", key), "about", wanted, now)
    }

    fn jobs(&mut self) -> Vec<Job<Scrape>> {
        let now = self.now().instant;
        std::iter::from_fn(|| self.cache.next(now)).collect()
    }

    fn end(&mut self, job: &Job<Scrape>, value: Option<f64>) -> Vec<String> {
        *self.reads.entry(job.request.origin.to_string()).or_default() += 1;
        let outcome = match value {
            Some(value) => Ok(Value::Text(families(job, value))),
            None => Err(SampleError("dead".to_owned())),
        };
        let now = self.now();
        self.cache
            .ended(job.number, job.request.clone(), Some(outcome), now)
            .into_iter()
            .map(|key| key.name)
            .collect()
    }

    /// Lets the time of gathering pass and ends all reads; answers who was woken.
    fn read_all(&mut self, value: Option<f64>) -> Vec<String> {
        self.now += Duration::from_millis(200);
        let mut woken = Vec::new();
        loop {
            let jobs = self.jobs();
            if jobs.is_empty() {
                return woken;
            }
            for job in jobs {
                woken.extend(self.end(&job, value));
            }
        }
    }
}

fn families(job: &Job<Scrape>, value: f64) -> Families {
    let mut scanner = Scanner::new(job.request.queries.iter().map(|query| &**query));
    for family in &job.request.queries {
        scanner.feed(format!("{family} {value}\n").as_bytes()).unwrap();
    }
    scanner.finish()
}

fn item(pod: &str, family: &str) -> Item {
    let target = Target::endpoint(Scheme::Http, pod, "metrics").unwrap();
    Item {
        origin: Origin::Text(target),
        pick: Pick::Series { queries: vec![family.into()], combine: Combine::Count },
    }
}

fn pods(names: &[&str], family: &str) -> Vec<Wanted> {
    let pod = |name: &&str| WantedPod { uid: (*name).into(), ready: true, item: Ok(item(name, family)) };
    vec![Wanted::PerPod(names.iter().map(pod).collect())]
}

fn values(samples: &Samples) -> Vec<Option<f64>> {
    match samples.sources.as_slice() {
        [Reading::PerPod(values)] => values.iter().map(|pod| pod.value.as_ref().ok().copied()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn asking_never_waits_and_completion_wakes_once() {
    let mut bench = Bench::new();
    let first = bench.ask("a", pods(&["p1", "p2"], "m"));
    assert_eq!(first, Samples { taken: None, pending: true, sources: Vec::new() });
    assert_eq!(bench.read_all(Some(3.0)), ["a"]);
    let second = bench.ask("a", pods(&["p1", "p2"], "m"));
    assert!(!second.pending && second.taken.is_some());
    assert_eq!(values(&second), [Some(3.0), Some(3.0)]);
    // Whoever looks again in this period sees the same round.
    assert_eq!(bench.ask("a", pods(&["p1", "p2"], "m")), second);
    assert!(bench.jobs().is_empty());
}

#[test]
fn each_origin_is_read_once_per_period_whatever_the_number_of_autoscalers() {
    let mut bench = Bench::new();
    for period in 0..5_u32 {
        for key in ["a", "b", "c"] {
            bench.at(f64::from(period) * 10.0).ask(key, pods(&["p1", "p2"], &format!("m{key}")));
        }
        assert_eq!(bench.read_all(Some(1.0)), ["a", "b", "c", "a", "b", "c"][3..].to_vec());
        for key in ["a", "b", "c"] {
            bench.at(f64::from(period) * 10.0 + 3.0);
            assert!(!bench.ask(key, pods(&["p1", "p2"], &format!("m{key}"))).pending);
        }
        assert!(bench.jobs().is_empty());
        assert!(bench.reads.values().all(|reads| *reads == period + 1), "{:?}", bench.reads);
    }
}

#[test]
fn new_tick_gets_new_samples_and_sees_the_old_ones_meanwhile() {
    let mut bench = Bench::new();
    bench.ask("a", pods(&["p1"], "m"));
    bench.read_all(Some(1.0));
    // One tick is late, and the next one follows at its usual time or a little earlier.
    bench.at(11.0).ask("a", pods(&["p1"], "m"));
    bench.read_all(Some(2.0));
    let early = bench.at(20.0).ask("a", pods(&["p1"], "m"));
    assert!(early.pending);
    assert_eq!(values(&early), [Some(2.0)]);
    assert_eq!(bench.read_all(Some(3.0)), ["a"]);
    assert_eq!(values(&bench.ask("a", pods(&["p1"], "m"))), [Some(3.0)]);
}

#[test]
fn failure_is_a_missing_value_and_not_tried_again_before_the_next_period() {
    let mut bench = Bench::new();
    bench.ask("a", pods(&["p1", "p2"], "m"));
    bench.now += Duration::from_millis(200);
    let jobs = bench.jobs();
    assert!(bench.end(&jobs[0], None).is_empty());
    assert_eq!(bench.end(&jobs[1], Some(5.0)), ["a"]);
    assert_eq!(values(&bench.ask("a", pods(&["p1", "p2"], "m"))), [None, Some(5.0)]);
    assert!(bench.jobs().is_empty());
    bench.at(10.0).ask("a", pods(&["p1", "p2"], "m"));
    let lanes: BTreeMap<String, usize> =
        bench.jobs().into_iter().map(|job| (job.request.origin.to_string(), job.lane)).collect();
    assert_eq!(lanes["GET http://p1/metrics"], SLOW);
    assert_eq!(lanes["GET http://p2/metrics"], HEALTHY);
}

#[test]
fn round_ends_with_what_it_has_when_its_time_is_over() {
    let mut bench = Bench::new();
    bench.ask("a", pods(&["p1", "p2"], "m"));
    bench.now += Duration::from_millis(200);
    let jobs = bench.jobs();
    bench.end(&jobs[0], Some(5.0));
    let deadline = bench.cache.next_moment().unwrap();
    assert_eq!(deadline - bench.start, Duration::from_millis(8500));
    assert!(bench.cache.overdue(bench.now()).is_empty());
    bench.at(8.5);
    assert_eq!(bench.cache.overdue(bench.now()), [Key::new("ns", "a")]);
    let samples = bench.ask("a", pods(&["p1", "p2"], "m"));
    assert!(!samples.pending);
    let [Reading::PerPod(values)] = samples.sources.as_slice() else { panic!() };
    assert_eq!(values[0].value, Ok(5.0));
    assert_eq!(values[1].value, Err(SampleError("GET http://p2/metrics: no answer in time".to_owned())));
    // The read has ended, so that the next period's begins at once.
    assert!(jobs[1].aborted.handle().is_aborted());
    assert!(bench.end(&jobs[1], Some(6.0)).is_empty());
    bench.at(10.0).ask("a", pods(&["p1", "p2"], "m"));
    assert_eq!(bench.jobs().len(), 2);
    // Its autoscaler gets it, too, when it comes a little later than the next period begins.
    bench.at(18.6);
    assert_eq!(bench.cache.overdue(bench.now()).len(), 1);
    bench.at(19.1).ask("tick", Vec::new());
    assert!(!bench.ask("a", pods(&["p1", "p2"], "m")).pending);
    assert!(bench.at(20.0).ask("a", pods(&["p1", "p2"], "m")).pending);
}

#[test]
fn thousand_dead_pods_do_not_delay_the_living() {
    let mut bench = Bench::new();
    let names: Vec<String> = (0..1000).map(|number| format!("dead{number}")).collect();
    let dead: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.ask("dead", pods(&dead, "m"));
    bench.read_all(None);
    bench.at(10.0).ask("dead", pods(&dead, "m"));
    let hanging = bench.jobs();
    assert_eq!(hanging.len(), AT_ONCE[SLOW]);
    bench.ask("alive", pods(&["p1", "p2"], "m"));
    assert_eq!(bench.read_all(Some(1.0)), ["alive"]);
    // Those that nobody waits for any more are not asked at all.
    bench.at(18.5);
    assert_eq!(bench.cache.overdue(bench.now()).len(), 1);
    assert!(!bench.ask("dead", pods(&dead, "m")).pending && bench.jobs().is_empty());
    // In the next period they come first.
    bench.at(20.0).ask("dead", pods(&dead, "m"));
    let asked = |jobs: Vec<Job<Scrape>>| -> BTreeSet<String> {
        jobs.into_iter().map(|job| job.request.origin.to_string()).collect()
    };
    let (before, after) = (asked(hanging), asked(bench.jobs()));
    assert_eq!(before.union(&after).count(), 1000);
}

#[test]
fn new_pods_that_hang_leave_the_way_to_others_after_a_second() {
    let mut bench = Bench::new();
    let names: Vec<String> = (0..300).map(|number| format!("hang{number}")).collect();
    bench.ask("hang", pods(&names.iter().map(String::as_str).collect::<Vec<_>>(), "m"));
    bench.ask("alive", pods(&["p1"], "m"));
    let mut sent = Vec::new();
    // The lane is full thrice.
    for seconds in [0.1, 1.1, 2.1] {
        bench.at(seconds);
        sent.extend(bench.jobs());
    }
    assert_eq!(sent.len(), 301);
    let alive = sent.iter().find(|job| job.request.origin.to_string().contains("p1")).unwrap();
    assert_eq!(bench.end(alive, Some(1.0)), ["alive"]);
}

#[test]
fn pod_that_took_long_waits_in_the_slow_lane_until_it_answers_soon() {
    let mut bench = Bench::new();
    for (period, seconds, lane) in [(0, 4.0, HEALTHY), (1, 0.5, SLOW), (2, 0.5, HEALTHY)] {
        let start = f64::from(period) * 10.0;
        bench.at(start).ask("a", pods(&["p1"], "m"));
        let jobs = bench.at(start + 0.1).jobs();
        assert_eq!(jobs[0].lane, lane, "period {period}");
        assert_eq!(bench.at(start + 0.1 + seconds).end(&jobs[0], Some(seconds)), ["a"]);
        assert_eq!(values(&bench.ask("a", pods(&["p1"], "m"))), [Some(seconds)]);
    }
}

#[test]
fn reads_under_way_are_bounded() {
    let mut bench = Bench::new();
    let names: Vec<String> = (0..500).map(|number| format!("p{number}")).collect();
    bench.ask("a", pods(&names.iter().map(String::as_str).collect::<Vec<_>>(), "m"));
    bench.at(0.5);
    assert_eq!(bench.jobs().len(), AT_ONCE[HEALTHY]);
}

#[test]
fn family_that_this_periods_read_did_not_keep_waits_for_the_next_period() {
    let mut bench = Bench::new();
    bench.ask("a", pods(&["p1"], "m"));
    bench.read_all(Some(1.0));
    assert!(bench.at(1.0).ask("b", pods(&["p1"], "n")).pending);
    assert!(bench.jobs().is_empty());
    bench.at(7.0);
    assert!(bench.cache.overdue(bench.now()).is_empty());
    bench.at(10.0).ask("a", pods(&["p1"], "m"));
    bench.ask("b", pods(&["p1"], "n"));
    assert_eq!(bench.read_all(Some(1.0)), ["a", "b"]);
    assert_eq!(bench.reads.values().copied().collect::<Vec<_>>(), [2]);
}

#[test]
fn read_that_began_in_an_earlier_period_is_followed_by_one_of_this_period() {
    let mut bench = Bench::new();
    bench.at(0.0).ask("begins the period", Vec::new());
    bench.at(5.0).ask("a", pods(&["p1"], "m"));
    bench.at(5.1);
    let old = bench.jobs();
    bench.at(10.0).ask("b", pods(&["p1"], "m"));
    assert!(bench.jobs().is_empty());
    // The answer counts for the round that it belongs to, though that one's period is over.
    assert!(bench.ask("a", pods(&["p1"], "m")).pending);
    assert_eq!(bench.at(13.0).end(&old[0], Some(1.0)), ["a"]);
    let late = bench.ask("a", pods(&["p1"], "m"));
    assert_eq!((late.pending, values(&late)), (false, vec![Some(1.0)]));
    assert_eq!(bench.read_all(Some(2.0)), ["b"]);
    assert_eq!(values(&bench.ask("b", pods(&["p1"], "m"))), [Some(2.0)]);
    // The next round is of the next period.
    assert!(bench.at(20.0).ask("a", pods(&["p1"], "m")).pending);
    assert_eq!(bench.read_all(Some(3.0)), ["a"]);
}

#[test]
fn autoscaler_that_asks_shortly_before_a_tick_shares_the_ticks_period() {
    let mut bench = Bench::new();
    bench.ask("a", pods(&["p1"], "m"));
    bench.read_all(Some(1.0));
    assert!(bench.at(9.5).ask("new", pods(&["p1"], "m")).pending);
    assert_eq!(bench.read_all(Some(2.0)), ["new"]);
    let tick = bench.at(10.0).ask("a", pods(&["p1"], "m"));
    assert!(!tick.pending);
    assert_eq!(values(&tick), [Some(2.0)]);
    assert!(bench.at(20.0).ask("a", pods(&["p1"], "m")).pending);
    assert_eq!(bench.reads.values().copied().collect::<Vec<_>>(), [2]);
}

#[test]
fn other_question_gets_no_old_answers() {
    let mut bench = Bench::new();
    bench.ask("a", pods(&["p1"], "m"));
    bench.read_all(Some(1.0));
    let now = bench.now();
    let other = bench.cache.ask(&Key::new("ns", "a"), "other", pods(&["p2"], "m"), now);
    assert_eq!(other, Samples { taken: None, pending: true, sources: Vec::new() });
}

#[test]
fn nothing_to_read_is_a_complete_round() {
    let mut bench = Bench::new();
    let failed = Wanted::Failed(SampleError("no selector".to_owned()));
    let samples = bench.ask("a", vec![Wanted::PerPod(Vec::new()), failed]);
    assert!(!samples.pending && samples.taken.is_some());
    let failed = Reading::Failed(SampleError("no selector".to_owned()));
    assert_eq!(samples.sources, [Reading::PerPod(Vec::new()), failed]);
    assert!(bench.cache.next_moment().is_none());
}

#[test]
fn what_nobody_asks_for_any_more_is_dropped() {
    let mut bench = Bench::new();
    bench.ask("a", pods(&["p1"], "m"));
    bench.ask("b", pods(&["p2"], "m"));
    bench.read_all(Some(1.0));
    bench.cache.forget(&Key::new("ns", "b"));
    assert_eq!(bench.cache.sizes(), (2, 1));
    for period in 1..6_u32 {
        bench.at(f64::from(period) * 10.0).ask("c", pods(&["p3"], "m"));
    }
    assert_eq!(bench.cache.sizes(), (1, 1));
}
