// SPDX-License-Identifier: Apache-2.0
//! Watches and reads that fail or hang.

use kube_fenced_election::clock::{Clock as _, SystemClock};
use tokio::time::sleep;

use crate::testkit::scripted::{Ask, Fault};

use super::{Bench, LoopSpec, MAPS, PODS, SECOND, SPEC, api, pod, run_loops};

#[tokio::test(start_paused = true)]
async fn reads_that_hang_silently_show_in_the_progress_of_the_term() {
    let api = api();
    let bench = Bench::new(&api);
    let check = async {
        sleep(100 * SECOND).await;
        assert_eq!(bench.term.progress.stuck(60 * SECOND), None);
        // Open connections say nothing, new requests are not answered.
        for path in [MAPS, PODS] {
            api.hold_watches(path, true);
            for ask in [Ask::List, Ask::Watch, Ask::StreamingList] {
                api.fail(ask, path, Fault::Hang);
            }
        }
        let start = SystemClock.instant();
        while bench.term.progress.stuck(60 * SECOND).is_none() {
            sleep(SECOND).await;
        }
        let took = SystemClock.instant() - start;
        assert!(took > 59 * SECOND && took < 83 * SECOND, "{took:?}");
        api.heal();
        sleep(30 * SECOND).await;
        assert_eq!(bench.term.progress.stuck(60 * SECOND), None);
    };
    tokio::select! {
        ended = run_loops(&bench.term, vec![bench.with_pods()]) => panic!("{ended:?}"),
        () = check => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_hangs_alone_shows_in_the_progress_of_the_term_and_one_that_has_nothing_to_say_does_not()
{
    let api = api();
    let bench = Bench::new(&api);
    let check = async {
        sleep(600 * SECOND).await;
        assert_eq!(bench.term.progress.stuck(60 * SECOND), None, "nothing happens");
        // Its connection stays open and new requests are answered; another watch goes on.
        api.hold_watches(PODS, true);
        api.put(PODS, pod("unseen"));
        let start = SystemClock.instant();
        while bench.term.progress.stuck(60 * SECOND).is_none() {
            sleep(SECOND).await;
        }
        let took = SystemClock.instant() - start;
        assert!(took > 60 * SECOND && took < 170 * SECOND, "{took:?}");
        let stuck = bench.term.progress.stuck(60 * SECOND).unwrap();
        assert!(stuck.reason == "WatchFailing" && stuck.what.starts_with("pods: "), "{stuck:?}");
        api.hold_watches(PODS, false);
        sleep(30 * SECOND).await;
        assert_eq!(bench.term.progress.stuck(60 * SECOND), None);
    };
    tokio::select! {
        ended = run_loops(&bench.term, vec![bench.with_pods()]) => panic!("{ended:?}"),
        () = check => {}
    }
}

#[tokio::test(start_paused = true)]
async fn passes_wait_while_it_is_not_known_whether_the_server_has_what_a_store_shows() {
    static EACH_SECOND: LoopSpec = LoopSpec { period: Some(SECOND), ..SPEC };
    let api = api();
    let bench = Bench::new(&api);
    let check = async {
        sleep(10 * SECOND).await;
        assert!(bench.passes().len() > 5);
        // The watch is told to list anew, and the list is not answered.
        api.fail(Ask::StreamingList, MAPS, Fault::Hang);
        api.compact(MAPS);
        api.cut_watches(MAPS);
        sleep(SECOND).await;
        bench.passes();
        sleep(10 * SECOND).await;
        assert_eq!(bench.passes(), Vec::<String>::new());
        api.heal();
        sleep(10 * SECOND).await;
        assert!(bench.passes().len() > 5);
        // A server that refuses is the same as before.
        api.fail(Ask::Watch, MAPS, Fault::Status(500));
        api.cut_watches(MAPS);
        sleep(10 * SECOND).await;
        assert!(bench.passes().len() > 5);
    };
    tokio::select! {
        ended = run_loops(&bench.term, vec![bench.alone(&EACH_SECOND)]) => panic!("{ended:?}"),
        () = check => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_shows_in_the_progress_of_the_term() {
    let api = api();
    let bench = Bench::new(&api);
    let check = async {
        sleep(10 * SECOND).await;
        api.fail(Ask::Watch, PODS, Fault::Status(500));
        api.cut_watches(PODS);
        sleep(50 * SECOND).await;
        assert_eq!(bench.term.progress.stuck(60 * SECOND), None);
        sleep(20 * SECOND).await;
        assert_eq!(bench.term.progress.stuck(60 * SECOND).unwrap().reason, "WatchFailing");
        assert!(bench.term.progress.stuck(60 * SECOND).unwrap().what.starts_with("pods: "));
    };
    tokio::select! {
        ended = run_loops(&bench.term, vec![bench.with_pods()]) => panic!("{ended:?}"),
        () = check => {}
    }
}
