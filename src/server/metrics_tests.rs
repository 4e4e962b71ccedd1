// SPDX-License-Identifier: Apache-2.0
use std::{
    io::Read as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use flate2::read::GzDecoder;
use tokio_util::sync::CancellationToken;

use kube_fenced_election::clock::{Clock as _, SystemClock};

use super::{
    metrics::MetricsServer,
    testing::{Answer, request},
};

const TEXT: &str = "# HELP up Help.\n# TYPE up gauge\nup 1\n";

async fn ask(method: &str, path: &str, headers: &[&str]) -> Answer {
    let server = MetricsServer::bind("127.0.0.1:0", Arc::new(|| TEXT.to_owned()), None).await.unwrap();
    let address: SocketAddr = server.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (answer, ended) = tokio::join!(
        async {
            let answer = request(address, method, path, headers).await;
            stop.cancel();
            answer
        },
        server.serve(stop.clone()),
    );
    ended.unwrap();
    answer
}

#[tokio::test]
async fn metrics_are_text_of_version_0_0_4() {
    let answer = ask("GET", "/metrics", &[]).await;
    assert_eq!((answer.status, answer.text()), (200, TEXT));
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(answer.header("content-encoding"), None);
}

#[tokio::test]
async fn metrics_are_compressed_if_asked_for() {
    for accepted in ["gzip", "deflate, gzip;q=0.5", "GZIP", "br , gzip"] {
        let answer = ask("GET", "/metrics", &[&format!("accept-encoding: {accepted}")]).await;
        assert_eq!(answer.header("content-encoding"), Some("gzip"), "{accepted}");
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let mut text = String::new();
        GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, TEXT);
    }
    for refused in ["", "identity", "gzip;q=0", "br", "xgzip"] {
        let answer = ask("GET", "/metrics", &[&format!("accept-encoding: {refused}")]).await;
        assert_eq!((answer.header("content-encoding"), answer.text()), (None, TEXT), "{refused}");
    }
}

#[tokio::test]
async fn metrics_are_rendered_by_one_at_a_time_and_once_a_second() {
    let rendered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&rendered);
    let render = Arc::new(move || format!("renderings {}\n", count.fetch_add(1, Ordering::Relaxed) + 1));
    let server = MetricsServer::bind("127.0.0.1:0", render, None).await.unwrap();
    let address: SocketAddr = server.local_addr().unwrap();
    let stop = CancellationToken::new();
    let asking = async {
        let start = SystemClock.instant();
        let accepts = ["accept-encoding: gzip"];
        let asked =
            (0..50).map(|n| request(address, "GET", "/metrics", accepts.get(n % 2..1).unwrap_or(&[])));
        let answers = futures::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        // As many as seconds have begun, on a machine that is slow.
        let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
        assert!(rendered.load(Ordering::Relaxed) <= seconds, "{rendered:?} in {seconds} s");
        let before = rendered.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let next = request(address, "GET", "/metrics", &[]).await;
        assert_eq!(next.text(), format!("renderings {}\n", before + 1), "nobody gets an older page");
        stop.cancel();
    };
    let ((), ended) = tokio::join!(asking, server.serve(stop.clone()));
    ended.unwrap();
}

#[tokio::test]
async fn other_paths_do_not_exist() {
    for path in ["/", "/metrics/", "/metricsx", "/healthz", "/debug/pprof"] {
        let answer = ask("GET", path, &[]).await;
        assert_eq!((answer.status, answer.text()), (404, "404 page not found\n"), "{path}");
    }
}

#[tokio::test]
async fn query_and_method_make_no_difference() {
    assert_eq!(ask("GET", "/metrics?name=up", &[]).await.text(), TEXT);
    assert_eq!(ask("POST", "/metrics", &[]).await.text(), TEXT);
    assert_eq!(ask("HEAD", "/metrics", &[]).await.text(), "");
}
