// SPDX-License-Identifier: Apache-2.0
//! Pure: the `caBundle`s of a webhook configuration, what they hold and what they get.
//!
//! An entry is ours when its `clientConfig.service` names our Service, when its bundle is empty, or when its
//! bundle holds the CA of our Secret already. Everything else in a configuration is left as it is, unknown
//! fields included.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rustls::pki_types::CertificateDer;
use serde_json::Value;

use super::x509::{self, Authority, Fingerprint};

/// The Service that the API server calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// Namespace of Service and Secret.
    pub namespace: String,
    /// The Service.
    pub service: String,
}

impl Names {
    /// The name in the server's certificate.
    pub(crate) fn dns_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}

/// The bundle of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Names our Service, or is empty.
    pub ours: bool,
    /// Its CAs, in order.
    pub authorities: Vec<Authority>,
    /// Holds something else than certificates.
    pub foul: bool,
}

impl Entry {
    /// Whether clients that use this entry trust this CA.
    pub(crate) fn holds(&self, fingerprint: Fingerprint) -> bool {
        self.authorities.iter().any(|it| it.fingerprint == fingerprint)
    }

    /// Whether this entry has to trust the CAs of this Secret.
    pub(crate) fn follows(&self, authority: Option<Fingerprint>) -> bool {
        self.ours || authority.is_some_and(|fingerprint| self.holds(fingerprint))
    }
}

/// Certificates by print, to write bundles from.
pub(crate) type Known = BTreeMap<Fingerprint, CertificateDer<'static>>;

/// The entries of a configuration, in order; certificates found in them are added to `known`.
pub(crate) fn read(configuration: &Value, names: &Names, known: &mut Known) -> Vec<Entry> {
    entries(configuration).iter().map(|entry| read_entry(entry, names, known)).collect()
}

fn entries(configuration: &Value) -> &[Value] {
    configuration.get("webhooks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn read_entry(entry: &Value, names: &Names, known: &mut Known) -> Entry {
    let client = entry.get("clientConfig");
    let service = client.and_then(|client| client.get("service"));
    let calls = |key: &str, value: &str| {
        service.and_then(|service| service.get(key)).and_then(Value::as_str) == Some(value)
    };
    let bundle = client.and_then(|client| client.get("caBundle")).cloned();
    let bundle: Option<ByteString> = bundle.and_then(|bundle| serde_json::from_value(bundle).ok());
    let bundle = bundle.unwrap_or_default().0;
    let certificates = x509::certificates(&bundle);
    let mut authorities = Vec::new();
    for certificate in certificates {
        if let Some(authority) = x509::authority_of(&certificate) {
            known.insert(authority.fingerprint, certificate);
            if !authorities.contains(&authority) {
                authorities.push(authority);
            }
        }
    }
    let empty = bundle.iter().all(u8::is_ascii_whitespace);
    Entry {
        ours: empty || (calls("name", &names.service) && calls("namespace", &names.namespace)),
        foul: authorities.is_empty() && !empty,
        authorities,
    }
}

/// The CAs that entries of a configuration get, in order, by the entry's position.
pub(crate) type Bundles = BTreeMap<usize, Vec<Fingerprint>>;

/// Gives entries these bundles; answers whether that changed anything.
pub(crate) fn write(configuration: &mut Value, bundles: &Bundles, known: &Known) -> bool {
    let Some(webhooks) = configuration.get_mut("webhooks").and_then(Value::as_array_mut) else {
        return false;
    };
    let mut changed = false;
    for (at, entry) in webhooks.iter_mut().enumerate() {
        let Some(want) = bundles.get(&at) else { continue };
        let pem: String =
            want.iter().filter_map(|fingerprint| known.get(fingerprint)).map(x509::pem_of).collect();
        let Ok(bundle) = serde_json::to_value(ByteString(pem.into_bytes())) else { continue };
        let client = entry.get_mut("clientConfig").and_then(Value::as_object_mut);
        let Some(client) = client else { continue };
        if client.get("caBundle") != Some(&bundle) {
            client.insert("caBundle".to_owned(), bundle);
            changed = true;
        }
    }
    changed
}

/// Whether a CA can still make a client accept something.
pub(crate) fn is_alive(authority: &Authority, now: Timestamp) -> bool {
    now <= authority.not_after
}
