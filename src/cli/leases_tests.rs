// SPDX-License-Identifier: Apache-2.0
use std::{collections::BTreeMap, error::Error as _};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    leases::{LeasesError, read},
    settings::Env,
};
use kube_loops::cluster::client::ClientSettings;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases?&limit=500";
const LEASES_ON: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases?&limit=500&continue=more";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/ns/deployments?&limit=500";

/// An API server that knows some paths and refuses all others.
struct Server {
    settings: ClientSettings,
    _folder: tempfile::TempDir,
    _serving: JoinSet<()>,
}

impl Server {
    async fn start(answers: BTreeMap<&'static str, Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                answer(stream, &answers).await;
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let config = json!({
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "u", "user": {} }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "current-context": "c",
        });
        std::fs::write(&path, config.to_string()).unwrap();
        let options = super::leases::Options::parse(&[format!("--kubeconfig={}", path.display())]).unwrap();
        let settings = options.client_settings(&Env::new(|_| None));
        Self { settings, _folder: folder, _serving: serving }
    }
}

/// Answers one request and closes.
async fn answer(mut stream: TcpStream, answers: &BTreeMap<&'static str, Value>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let refusal = json!({ "kind": "Status", "status": "Failure", "message": format!("no {path}"), "reason": "Forbidden", "code": 403 });
    let (status, body) =
        answers.get(path).map_or_else(|| ("403 Forbidden", refusal), |body| ("200 OK", body.clone()));
    let body = body.to_string();
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn list(names: &[&str], more: Option<&str>) -> Value {
    let items: Vec<_> = names.iter().map(|name| json!({ "metadata": { "name": name } })).collect();
    json!({ "metadata": { "continue": more }, "items": items })
}

#[tokio::test]
async fn every_page_of_both_lists_is_read() {
    let deployment = json!({ "metadata": {}, "items": [] });
    let answers =
        [(LEASES, list(&["a"], Some("more"))), (LEASES_ON, list(&["b"], None)), (DEPLOYMENTS, deployment)];
    let server = Server::start(answers.into()).await;
    let seen = read(&server.settings, "ns").await.unwrap();
    let names: Vec<_> = seen.leases.iter().filter_map(|lease| lease.metadata.name.as_deref()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(seen.deployments, []);
}

#[tokio::test]
async fn a_list_that_is_refused_is_an_error_with_its_cause() {
    let server = Server::start(BTreeMap::new()).await;
    let error = read(&server.settings, "ns").await.unwrap_err();
    assert_eq!(error.to_string(), "could not list leases in namespace ns");
    assert!(error.source().unwrap().to_string().contains("no /apis/coordination"), "{error:?}");
    let server = Server::start([(LEASES, list(&[], None))].into()).await;
    let error = read(&server.settings, "ns").await.unwrap_err();
    assert!(matches!(error, LeasesError::ListDeployments { .. }), "{error:?}");
}

#[tokio::test]
async fn without_a_usable_configuration_nothing_is_asked() {
    let mut settings = Server::start(BTreeMap::new()).await.settings;
    settings.kubeconfig_flag = Some("/does/not/exist".into());
    let error = read(&settings, "ns").await.unwrap_err();
    assert!(matches!(error, LeasesError::Connect(_)), "{error:?}");
}
