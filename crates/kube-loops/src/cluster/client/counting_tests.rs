// SPDX-License-Identifier: Apache-2.0

use futures::FutureExt as _;
use http::Request;
use kube::client::Body;
use tower::{Layer as _, Service as _};

use crate::{
    metrics::Metrics,
    testkit::scripted_api::{Answer, ScriptedApi},
};

use super::counting::Counting;

#[test]
fn counts_by_code_method_and_host_also_what_got_no_answer() {
    let metrics = Metrics::new();
    let family = metrics.int_counter("rest_client_requests_total", "Help.", &["code", "method", "host"]);
    let counting = Counting::new(family.unwrap());
    let api = ScriptedApi::in_turn([
        Answer::ok(1.into()),
        Answer::ok(1.into()),
        Answer::conflict(),
        Answer::Broken,
    ]);
    let mut service = counting.layer(api);
    for method in ["GET", "GET", "PUT", "PATCH"] {
        let request = Request::builder().method(method).uri("https://10.0.0.1:443/api/v1/pods");
        let request = request.body(Body::empty()).unwrap();
        drop(service.call(request).now_or_never().unwrap());
    }
    let lines: Vec<String> =
        metrics.render().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            r#"rest_client_requests_total{code="200",host="10.0.0.1:443",method="GET"} 2"#,
            r#"rest_client_requests_total{code="409",host="10.0.0.1:443",method="PUT"} 1"#,
            r#"rest_client_requests_total{code="<error>",host="10.0.0.1:443",method="PATCH"} 1"#,
        ]
    );
}
