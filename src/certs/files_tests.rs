// SPDX-License-Identifier: Apache-2.0
use std::{path::Path, sync::Arc};

use super::{
    files,
    issue::PemPair,
    testing::{self, DNS_NAME, handshake},
    x509::{self, Fingerprint},
};

fn put(folder: &Path, pair: &PemPair) {
    std::fs::write(folder.join("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(folder.join("tls.key"), &pair.key).unwrap();
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
    assert_eq!(facts.authority, Some(Fingerprint::of(&ca[0])));
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
