// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use jiff::Timestamp;

use super::{
    issue::{self, PemPair, Template},
    rotation::{Data, Renewal, SecretContents, inspect},
    testing::{self, DNS_NAME, NOW, data, days, pairs},
    x509,
};

fn held(data: &Data, now: Timestamp) -> SecretContents {
    inspect(data, DNS_NAME, &[], now).held
}

/// Why a CA is made anew.
fn of_authority(data: &Data, now: Timestamp) -> String {
    match held(data, now).renewal {
        Renewal::Authority(reason) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Why a server certificate is made anew.
fn of_server(data: &Data, now: Timestamp) -> String {
    match held(data, now).renewal {
        Renewal::Server(reason) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}

fn sound() -> Data {
    data(&pairs().ca, &pairs().server)
}

fn with(key: &str, value: impl Into<Vec<u8>>) -> Data {
    let mut data = sound();
    data.insert(key.to_owned(), value.into());
    data
}

fn without(key: &str) -> Data {
    let mut data = sound();
    data.remove(key);
    data
}

// scenario: manager-and-deployment 34
#[test]
fn secret_that_a_go_manager_wrote_is_left_as_it_is() {
    let data = data(&testing::go_ca(), &testing::go_server());
    for now in [NOW, NOW + days(274)] {
        let held = held(&data, now);
        assert_eq!(held.renewal, Renewal::Nothing, "{now}");
        assert_eq!(held.pair.and_then(|pair| pair.authority), held.authority.map(|it| it.fingerprint));
    }
}

// scenario: manager-and-deployment 34
#[test]
fn certificates_are_renewed_ninety_days_before_their_end() {
    let go = data(&testing::go_ca(), &testing::go_server());
    assert!(of_server(&go, NOW + days(275) + Duration::from_secs(1)).starts_with("tls.crt expires at"));
    let late = NOW + days(3650 - 90) + Duration::from_secs(1);
    assert!(of_authority(&go, late).starts_with("ca.crt expires at"));
}

#[test]
fn certificate_that_ends_soon_is_served_until_it_ends() {
    let held_late = held(&sound(), NOW + days(364));
    assert!(matches!(held_late.renewal, Renewal::Server(_)) && held_late.pair.is_some());
    assert_eq!(held(&sound(), NOW + days(366)).pair, None, "expired");
}

#[test]
fn empty_secret_needs_everything() {
    assert_eq!(of_authority(&Data::new(), NOW), "ca.crt is missing");
    assert_eq!(held(&Data::new(), NOW).pair, None);
    assert_eq!(of_authority(&with("ca.crt", "\n "), NOW), "ca.crt is missing");
}

#[test]
fn half_filled_secret_gets_what_it_lacks() {
    assert_eq!(of_authority(&without("ca.key"), NOW), "ca.key is missing");
    assert_eq!(of_authority(&without("ca.crt"), NOW), "ca.crt is missing");
    assert_eq!(of_server(&without("tls.crt"), NOW), "tls.crt is missing");
    assert_eq!(of_server(&without("tls.key"), NOW), "tls.key is missing");
    assert!(held(&without("ca.key"), NOW).pair.is_some(), "what works is served meanwhile");
}

#[test]
fn garbage_is_replaced() {
    for garbage in
        [&b"garbage"[..], b"\xff\xfe\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    {
        assert_eq!(of_authority(&with("ca.crt", garbage), NOW), "ca.crt cannot be parsed");
        assert!(of_authority(&with("ca.key", garbage), NOW).starts_with("ca.key "));
        assert_eq!(of_server(&with("tls.crt", garbage), NOW), "tls.crt cannot be parsed");
        assert!(of_server(&with("tls.key", garbage), NOW).starts_with("tls.key "));
    }
}

#[test]
fn keys_that_belong_to_other_certificates_are_replaced() {
    let other = pairs();
    assert_eq!(
        of_authority(&with("ca.key", other.other_ca.key.clone()), NOW),
        "ca.key does not belong to the certificate"
    );
    assert_eq!(
        of_server(&with("tls.key", other.other_server.key.clone()), NOW),
        "tls.key does not belong to the certificate"
    );
}

#[test]
fn server_certificate_of_another_ca_is_replaced() {
    let mut data = with("tls.crt", pairs().other_server.certificate.clone());
    data.insert("tls.key".to_owned(), pairs().other_server.key.clone().into_bytes());
    assert_eq!(of_server(&data, NOW), "tls.crt is not signed by its CA");
    assert_eq!(held(&data, NOW).pair, None, "nobody would accept it");
    let other = x509::certificates(pairs().other_ca.certificate.as_bytes());
    let inspection = inspect(&data, DNS_NAME, &other, NOW);
    assert!(inspection.held.pair.is_some(), "clients that still trust the other CA accept it");
}

#[test]
fn server_certificate_for_another_name_is_replaced() {
    let inspection = inspect(&sound(), "aibrix-webhook-service.other.svc", &[], NOW);
    let Renewal::Server(reason) = inspection.held.renewal else { panic!("{:?}", inspection.held) };
    assert_eq!(reason.to_string(), "tls.crt is for another name than aibrix-webhook-service.other.svc");
    assert_eq!(inspection.held.pair, None);
}

#[test]
fn certificates_from_a_clock_that_is_ahead_are_replaced() {
    let early = NOW - Duration::from_hours(2);
    assert!(of_authority(&sound(), early).starts_with("ca.crt is valid only from"));
    let random = &mut rand::rng();
    let future = Template::of_server(NOW + days(30), random).unwrap();
    let server = issue::server(&pairs().ca, DNS_NAME, &future, random).unwrap();
    assert!(of_server(&data(&pairs().ca, &server), NOW).starts_with("tls.crt is valid only from"));
}

#[test]
fn replicas_with_different_clocks_come_to_rest() {
    // The one that is behind makes anew what it finds too young; the one that is ahead accepts that.
    let (ahead, behind) = (NOW + Duration::from_hours(5), NOW - Duration::from_hours(5));
    let (ca, server) = testing::made_at(ahead);
    assert!(of_authority(&data(&ca, &server), behind).contains("is valid only from"));
    let (ca, server) = testing::made_at(behind);
    for now in [behind, NOW, ahead] {
        assert_eq!(held(&data(&ca, &server), now).renewal, Renewal::Nothing);
    }
}

#[test]
fn ca_that_is_none_is_replaced() {
    let not_a_ca = PemPair { ..pairs().server.clone() };
    assert_eq!(of_authority(&data(&not_a_ca, &pairs().server), NOW), "ca.crt is not the certificate of a CA");
}

#[test]
fn ca_with_another_name_is_replaced() {
    let mut params = rcgen::CertificateParams::new(vec!["somebody-else".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let foreign = params.self_signed(&key).unwrap();
    let ca = PemPair { certificate: x509::pem_of(foreign.der()), key: pairs().ca.key.clone() };
    assert!(of_authority(&data(&ca, &pairs().server), NOW).starts_with("ca.crt "));
}

#[test]
fn ca_key_in_another_encoding_is_replaced() {
    // After a rollback a Go manager would not read it, and never be ready.
    let key = rcgen::KeyPair::generate().unwrap();
    let pkcs8 = issue::encode_pem("PRIVATE KEY", key.serialized_der());
    assert_eq!(of_authority(&with("ca.key", pkcs8), NOW), "ca.key is not an RSA key in PKCS#1");
}

#[test]
fn ca_whose_signature_was_tampered_with_is_replaced() {
    let mut der = x509::certificates(pairs().ca.certificate.as_bytes()).remove(0).to_vec();
    *der.last_mut().unwrap() ^= 1;
    let tampered = x509::pem_of(&der.into());
    assert_eq!(of_authority(&with("ca.crt", tampered), NOW), "ca.crt is not signed by its CA");
}

mod properties {
    use proptest::prelude::*;

    use super::{DNS_NAME, NOW, Renewal, inspect, sound};

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_none_pass_for_a_certificate(
            key in prop::sample::select(vec!["ca.crt", "ca.key", "tls.crt", "tls.key"]),
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let mut data = sound();
            data.insert(key.to_owned(), bytes);
            prop_assert_ne!(inspect(&data, DNS_NAME, &[], NOW).held.renewal, Renewal::Nothing);
        }

        #[test]
        fn flipped_bits_never_make_it_panic(
            key in prop::sample::select(vec!["ca.crt", "ca.key", "tls.crt", "tls.key"]),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let mut data = sound();
            let bytes = data.get_mut(key).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = inspect(&data, DNS_NAME, &[], NOW);
        }
    }
}
