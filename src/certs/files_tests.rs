// SPDX-License-Identifier: Apache-2.0
use std::{path::Path, sync::Arc, time::Duration};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::clock::{Clock as _, SharedClock, SystemClock};

use super::{
    files,
    issue::PemPair,
    served::Served,
    testing::{self, DNS_NAME, handshake},
    x509::{self, Print},
};

fn put(folder: &Path, pair: &PemPair) {
    std::fs::write(folder.join("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(folder.join("tls.key"), &pair.key).unwrap();
}

fn following(folder: &Path) -> (Arc<Served>, crate::runtime::tasks::TaskSet) {
    let clock: SharedClock = Arc::new(SystemClock);
    let served = Arc::new(Served::new(Arc::clone(&clock)));
    let tasks = crate::runtime::tasks::TaskSet::new();
    let (shown, folder) = (Arc::clone(&served), folder.to_owned());
    tasks.spawn("files", async move { files::follow(&folder, &shown, &clock).await });
    (served, tasks)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(120), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_served_and_open_connections_go_on() {
    let now = SystemClock.now();
    let ((first_ca, first), (second_ca, second)) = (testing::made_at(now), testing::made_at(now));
    let ca = |pair: &PemPair| x509::certificates(pair.certificate.as_bytes());
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &first);
    let (served, _tasks) = following(folder.path());
    until("ready", || served.readiness().is_ok()).await;
    let (mut client, mut server) = handshake(served.clone(), &ca(&first_ca), now).await.unwrap();

    put(folder.path(), &second);
    let deadline = tokio::time::timeout(Duration::from_secs(120), async {
        while handshake(served.clone(), &ca(&second_ca), now).await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    deadline.await.expect("the second certificate is served");

    client.write_all(b"still here").await.unwrap();
    client.flush().await.unwrap();
    let mut said = [0; 10];
    server.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"still here");
}

#[tokio::test(start_paused = true)]
async fn pair_that_is_replaced_half_way_is_not_served_and_the_old_one_stays() {
    let now = SystemClock.now();
    let ((ca, first), (_, second)) = (testing::made_at(now), testing::made_at(now));
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &first);
    let (served, _tasks) = following(folder.path());
    until("ready", || served.readiness().is_ok()).await;
    std::fs::write(folder.path().join("tls.crt"), &second.certificate).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    served.readiness().expect("what was served goes on being served");
    let trusted = x509::certificates(ca.certificate.as_bytes());
    handshake(served.clone(), &trusted, now).await.expect("the first certificate");
}

#[tokio::test(start_paused = true)]
async fn files_that_come_later_make_it_ready() {
    let folder = tempfile::tempdir().unwrap();
    let (served, _tasks) = following(folder.path());
    until("told", || served.readiness().is_err_and(|it| it.contains("tls.crt is missing"))).await;
    assert!(served.readiness().unwrap_err().starts_with("webhook certificates are not ready: "));
    put(folder.path(), &testing::made_at(SystemClock.now()).1);
    until("ready", || served.readiness().is_ok()).await;
}

#[tokio::test]
async fn files_are_read_with_their_ca_if_there_is_one() {
    let pairs = testing::pairs();
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &pairs.server);
    let data = files::read(folder.path()).await.unwrap();
    let (facts, _) = files::usable(&data, DNS_NAME, &[], testing::NOW).unwrap();
    assert_eq!(facts.authority, None);
    std::fs::write(folder.path().join("ca.crt"), &pairs.ca.certificate).unwrap();
    let data = files::read(folder.path()).await.unwrap();
    let (facts, _) = files::usable(&data, DNS_NAME, &[], testing::NOW).unwrap();
    let ca = x509::certificates(pairs.ca.certificate.as_bytes());
    assert_eq!(facts.authority, Some(Print::of(&ca[0])));
    assert!(files::usable(&data, DNS_NAME, &[], testing::NOW + testing::days(400)).is_none(), "expired");
}

#[tokio::test]
async fn client_that_trusts_the_ca_of_a_go_manager_accepts_its_server() {
    let (ca, server) = (testing::go_ca(), testing::go_server());
    let pair = x509::pair(server.certificate.as_bytes(), server.key.as_bytes()).unwrap();
    let trusted = x509::certificates(ca.certificate.as_bytes());
    let resolver = Arc::new(testing::Fixed(pair));
    handshake(resolver, &trusted, testing::NOW).await.expect("serial number 0 and all");
}
