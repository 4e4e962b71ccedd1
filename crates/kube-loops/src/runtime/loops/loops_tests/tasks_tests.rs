// SPDX-License-Identifier: Apache-2.0
//! What becomes of the tasks of a term.

use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use tokio::time::sleep;

use super::{Bench, PERIODIC, SECOND, SPEC, api, run_loops};

#[tokio::test(start_paused = true)]
async fn loops_of_a_dropped_term_have_ended_once_no_task_is_counted() {
    let api = api();
    let mut bench = Bench::new(&api);
    bench.recorder.takes = 5 * SECOND;
    bench.run_for(SECOND, vec![bench.with_pods(), bench.alone(&PERIODIC)]).await;
    // Aborted, but nothing has run since that could have ended them.
    assert_eq!(bench.term.tasks.len(), 2);
    bench.term.tasks.close();
    bench.term.tasks.wait().await;
    sleep(100 * SECOND).await;
    assert!(bench.passes().is_empty());
}

/// Each pass of a loop blocks its thread until the other loop is in a pass, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_that_blocks_its_thread_keeps_no_other_loop_of_its_controller_from_passing() {
    let api = api();
    let mut bench = Bench::new(&api);
    let (met, mut has_met) = tokio::sync::mpsc::unbounded_channel();
    let mut meeting = |spec, here: mpsc::Sender<()>, there: mpsc::Receiver<()>| {
        let (met, there) = (met.clone(), Mutex::new(there));
        bench.recorder.in_each = Some(Arc::new(move || {
            let came = here.send(()).is_ok() && there.lock().recv_timeout(60 * SECOND).is_ok();
            met.send(came).ok();
        }));
        bench.alone(spec)
    };
    let ((from_one, to_other), (from_other, to_one)) = (mpsc::channel(), mpsc::channel());
    let loops = vec![meeting(&SPEC, from_one, to_one), meeting(&PERIODIC, from_other, to_other)];
    tokio::select! {
        ended = run_loops(&bench.term, loops) => panic!("{ended:?}"),
        came = has_met.recv() => assert_eq!(came, Some(true)),
    }
}
