// SPDX-License-Identifier: Apache-2.0

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    controllers::pod_autoscaler::snapshot::{Reading, SampleError, Samples},
    validation::target_metric::Matchers,
};
use kube_fenced_election::clock::{Clock, SystemClock};
use kube_loops::runtime::{
    reconciler::Key,
    requests::runner::{Requests, SendRequest},
};

use super::{
    cache::{MetricsCache, Scrape},
    wanted::{Item, Origin, Pick, Value, Wanted},
};

const PERIOD: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(8);

/// Answers with the number of the read; a metric called `hang` never answers.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicU32>);

impl SendRequest<MetricsCache> for Counting {
    async fn send(&self, scrape: &Scrape) -> Result<Value, SampleError> {
        if matches!(&*scrape.origin, Origin::External { metric, .. } if metric == "hang") {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        Ok(Value::Number(f64::from(self.0.fetch_add(1, Ordering::Relaxed) + 1)))
    }
}

fn cache() -> Arc<Requests<MetricsCache>> {
    Arc::new(Requests::new(MetricsCache::new(PERIOD, LONGEST), Arc::new(SystemClock)))
}

fn ask(cache: &Requests<MetricsCache>, key: &Key, metric: &str) -> Samples {
    cache.with(|cache, now| cache.ask(key, "x", external(metric), now))
}

fn external(metric: &str) -> Vec<Wanted> {
    let origin = Origin::External {
        namespace: "ns".to_owned(),
        metric: metric.to_owned(),
        series: Matchers::default(),
    };
    vec![Wanted::Total(Item { origin, pick: Pick::Number })]
}

#[tokio::test(start_paused = true)]
async fn hundred_autoscalers_cause_one_read_per_period() {
    let cache = cache();
    let reader = Counting::default();
    let (wake, mut woken) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let (cache, reader) = (Arc::clone(&cache), reader.clone());
        async move { cache.run(&reader, move |key| wake.send(key).unwrap()).await }
    });
    let start = SystemClock.instant();
    let keys: Vec<Key> = (0..100).map(|number| Key::new("ns", format!("pa{number}"))).collect();
    for period in 0..6_u32 {
        tokio::time::sleep_until(start + PERIOD * period).await;
        for key in &keys {
            assert!(ask(&cache, key, "queue").pending);
        }
        for _ in &keys {
            let key = woken.recv().await.unwrap();
            let samples = ask(&cache, &key, "queue");
            assert!(!samples.pending);
            assert_eq!(samples.sources, [Reading::Total(Ok(f64::from(period + 1)))]);
        }
        assert!(woken.try_recv().is_err());
        assert!(SystemClock.instant() - (start + PERIOD * period) < Duration::from_millis(200));
    }
    assert_eq!(reader.0.load(Ordering::Relaxed), 6);
}

#[tokio::test(start_paused = true)]
async fn source_that_hangs_costs_its_autoscaler_one_read_and_others_nothing() {
    let cache = cache();
    let (wake, mut woken) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let cache = Arc::clone(&cache);
        async move { cache.run(&Counting::default(), move |key| wake.send(key).unwrap()).await }
    });
    let start = SystemClock.instant();
    let (stuck, fine) = (Key::new("ns", "stuck"), Key::new("ns", "fine"));
    ask(&cache, &stuck, "hang");
    ask(&cache, &fine, "queue");
    assert_eq!(woken.recv().await.as_ref(), Some(&fine));
    assert!(SystemClock.instant() - start < Duration::from_millis(200));
    assert_eq!(woken.recv().await.as_ref(), Some(&stuck));
    assert!(SystemClock.instant() - start < PERIOD);
    let samples = ask(&cache, &stuck, "hang");
    let error = SampleError("external metric hang in namespace ns: no answer in time".to_owned());
    assert_eq!(samples.sources, [Reading::Total(Err(error))]);
}
