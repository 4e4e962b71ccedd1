// SPDX-License-Identifier: Apache-2.0

use futures::FutureExt as _;
use http::Request;
use tower::{Layer as _, Service as _};

use crate::testkit::scripted_api::ScriptedApi;

use super::user_agent::UserAgent;

fn sent(identity: &str) -> String {
    let api = ScriptedApi::echo();
    let mut service = UserAgent::new("program/1.2.3", identity).of("kv-cache-controller").layer(api.clone());
    let request = Request::get("/api").body(kube::client::Body::empty()).unwrap();
    service.call(request).now_or_never().unwrap().unwrap();
    api.requests()[0].header("user-agent").to_owned()
}

#[test]
fn names_program_platform_controller_and_process() {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let want = format!("program/1.2.3 (linux/{arch}) kv-cache-controller/pod-0_f00d");
    assert_eq!(sent("pod-0_f00d"), want);
}

#[test]
fn an_identity_that_no_header_can_hold_is_cleaned() {
    assert!(sent("höst\n\u{7f}x_1").ends_with("kv-cache-controller/h_st__x_1"));
}
