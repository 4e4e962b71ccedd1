// SPDX-License-Identifier: Apache-2.0
//! Kinds that come into sight.

use k8s_openapi::api::apps::v1::Deployment;
use tokio::time::sleep;

use super::{Bench, Key, SECOND, SPEC, Sources, WatchSpec, api, maps, run_loops};

const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";

#[tokio::test(start_paused = true)]
async fn keys_are_queued_each_time_a_kind_comes_into_sight() {
    let api = api();
    let bench = Bench::new(&api);
    let open = |sources: &mut Sources<'_>| {
        sources.primary(maps());
        let deployments = sources.reads_if_served(WatchSpec::<Deployment>::all());
        sources.when_served(&deployments, || vec![Key::new("ns", "b")]);
    };
    let changes = async {
        sleep(SECOND).await;
        assert_eq!(bench.passes(), ["a", "b"]);
        for _ in 0..2 {
            api.serve(DEPLOYMENTS);
            sleep(60 * SECOND).await;
            assert_eq!(bench.passes(), ["b"]);
            api.stop_serving(DEPLOYMENTS);
            sleep(60 * SECOND).await;
            assert!(bench.passes().is_empty());
        }
    };
    tokio::select! {
        ended = run_loops(&bench.term, vec![bench.built(&SPEC, open, |_| {})]) => panic!("{ended:?}"),
        () = changes => {}
    }
}
