// SPDX-License-Identifier: Apache-2.0
//! Pure: the observed facts about Secret and webhook configurations.

use super::{
    bundle::Entry,
    rotation::{Pair, SecretContents},
    x509::Fingerprint,
};

/// What a read yielded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup<T> {
    /// The object.
    Found(T),
    /// There is none, or it is being deleted.
    NotFound,
    /// The read failed, and why.
    Unknown(String),
}

impl<T> Lookup<T> {
    /// The object, if it was read.
    pub(crate) fn found(&self) -> Option<&T> {
        match self {
            Self::Found(object) => Some(object),
            Self::NotFound | Self::Unknown(_) => None,
        }
    }
}

/// A webhook configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// Kind and name, for people.
    pub title: String,
    /// Its entries.
    pub entries: Lookup<Vec<Entry>>,
}

/// The observed state, reduced to what the plan needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The Secret.
    pub secret: Lookup<SecretContents>,
    /// Both webhook configurations.
    pub configurations: Vec<Configuration>,
    /// What the mounted files hold; read only when there is nothing else to serve.
    pub files: Option<Pair>,
}

impl Snapshot {
    /// Print of the CA in the Secret.
    pub(crate) fn secret_authority(&self) -> Option<Fingerprint> {
        self.secret.found().and_then(|held| held.authority).map(|authority| authority.fingerprint)
    }

    /// Entries that have to trust our CA: (configuration, position, entry).
    pub(crate) fn own_entries(&self) -> impl Iterator<Item = (usize, usize, &Entry)> {
        let authority = self.secret_authority();
        let all = self.configurations.iter().enumerate().flat_map(|(index, configuration)| {
            let entries = configuration.entries.found().map(Vec::as_slice).unwrap_or_default();
            entries.iter().enumerate().map(move |(at, entry)| (index, at, entry))
        });
        all.filter(move |(_, _, entry)| entry.follows(authority))
    }

    /// Whether a configuration could not be read: nobody knows whom its clients trust.
    pub(crate) fn has_unread_configuration(&self) -> bool {
        self.configurations.iter().any(|it| matches!(it.entries, Lookup::Unknown(_)))
    }

    /// Whether every entry of ours that was read holds this CA.
    pub(crate) fn is_trusted_everywhere(&self, authority: Fingerprint) -> bool {
        self.own_entries().all(|(_, _, entry)| entry.holds(authority))
    }
}
