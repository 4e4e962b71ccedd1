// SPDX-License-Identifier: Apache-2.0
use jiff::Timestamp;
use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

use super::{
    issue::{self, IssueError, PemPair, Template},
    testing::{self, DNS_NAME, NOW, pairs},
    x509::{self, Fault},
};

fn der(pair: &PemPair) -> rustls::pki_types::CertificateDer<'static> {
    x509::certificates(pair.certificate.as_bytes()).remove(0)
}

#[test]
fn ca_has_the_contents_that_a_go_manager_makes() {
    let der = der(&pairs().ca);
    let (_, ca) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
    assert_eq!(ca.subject().to_string(), "O=aibrix, CN=aibrix-ca");
    assert_eq!(ca.issuer().as_raw(), ca.subject().as_raw());
    let usage = ca.key_usage().unwrap().unwrap();
    assert_eq!(usage.value.to_string(), "Digital Signature, Key Encipherment, Key Cert Sign");
    assert!(ca.basic_constraints().unwrap().unwrap().value.ca);
    assert!(ca.extended_key_usage().unwrap().is_none());
    let names = &ca.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names, &[GeneralName::DNSName("aibrix-ca")]);
    assert_eq!(ca.validity().not_before.timestamp(), NOW.as_second() - 3600);
    assert_eq!(ca.validity().not_after.timestamp(), NOW.as_second() + 10 * 365 * 86_400);
    let number = ca.raw_serial();
    assert!(number.len() == 16 && (0x40..0x80).contains(&number[0]), "positive and random: {number:x?}");
}

#[test]
fn server_certificate_has_the_contents_that_a_go_manager_makes() {
    let (ca, der) = (der(&pairs().ca), der(&pairs().server));
    let (_, server) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
    assert_eq!(server.subject().to_string(), format!("CN={DNS_NAME}"));
    let usage = server.key_usage().unwrap().unwrap();
    assert_eq!(usage.value.to_string(), "Digital Signature, Key Encipherment");
    let extended = server.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && !extended.client_auth && !extended.any);
    assert!(!server.basic_constraints().unwrap().unwrap().value.ca);
    let names = &server.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names, &[GeneralName::DNSName(DNS_NAME)]);
    assert_eq!(server.validity().not_before.timestamp(), NOW.as_second() - 3600);
    assert_eq!(server.validity().not_after.timestamp(), NOW.as_second() + 365 * 86_400);
    let (_, ca) = x509_parser::certificate::X509Certificate::from_der(&ca).unwrap();
    assert_eq!(server.issuer().as_raw(), ca.subject().as_raw());
}

#[test]
fn keys_are_rsa_2048_in_pkcs1() {
    for pair in [&pairs().ca, &pairs().server] {
        assert!(pair.key.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"), "another encoding");
        let der = der(pair);
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
        assert_eq!(parsed.public_key().parsed().unwrap().key_size(), 2048);
        x509::check_authority_key(&der, pair.key.as_bytes()).unwrap();
    }
}

#[test]
fn server_certificate_of_a_ca_that_a_go_manager_made_verifies() {
    let ca = testing::go_ca();
    let template = Template::of_server(NOW, &mut rand::rng()).unwrap();
    let server = issue::server(&ca, DNS_NAME, &template, &mut rand::rng()).unwrap();
    x509::check_server(&der(&server), &der(&ca), DNS_NAME, &[NOW]).unwrap();
}

#[test]
fn lines_are_those_of_go() {
    let ca = testing::go_ca();
    assert_eq!(x509::pem_of(&der(&ca)), ca.certificate);
    assert!(pairs().ca.certificate.lines().all(|line| line.len() <= 64));
}

#[test]
fn clock_that_is_broken_makes_no_certificate() {
    for now in [Timestamp::MIN, Timestamp::MAX, Timestamp::from_second(0).unwrap()] {
        let made = Template::of_authority(now, &mut rand::rng())
            .and_then(|template| issue::authority(&template, &mut rand::rng()));
        assert!(matches!(made, Err(IssueError::Clock(_))), "{now}");
    }
}

#[test]
fn ca_without_a_readable_key_signs_nothing() {
    let template = Template::of_server(NOW, &mut rand::rng()).unwrap();
    let mut ca = pairs().ca.clone();
    ca.key = "no key".to_owned();
    let made = issue::server(&ca, DNS_NAME, &template, &mut rand::rng());
    assert!(matches!(made, Err(IssueError::AuthorityKey(_))), "{made:?}");
}

#[test]
fn debug_output_holds_no_key() {
    assert!(!format!("{:?}", pairs().ca).contains("PRIVATE"));
    assert_eq!(Fault::Missing.to_string(), "is missing");
}
