// SPDX-License-Identifier: Apache-2.0
//! Pure: the facts of one look at Secret and webhook configurations.

use super::{
    bundle::Entry,
    rotation::{Held, Pair},
    x509::Print,
};

/// What a read yielded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen<T> {
    /// The object.
    There(T),
    /// There is none, or it is being deleted.
    Absent,
    /// The read failed, and why.
    Unknown(String),
}

impl<T> Seen<T> {
    /// The object, if it was read.
    pub(crate) fn there(&self) -> Option<&T> {
        match self {
            Self::There(object) => Some(object),
            Self::Absent | Self::Unknown(_) => None,
        }
    }
}

/// A webhook configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// Kind and name, for people.
    pub title: String,
    /// Its entries.
    pub entries: Seen<Vec<Entry>>,
}

/// One look, read object by object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The Secret.
    pub secret: Seen<Held>,
    /// Both webhook configurations.
    pub configurations: Vec<Configuration>,
    /// What the mounted files hold; looked at only when there is nothing else to serve.
    pub files: Option<Pair>,
}

impl Snapshot {
    /// Print of the CA in the Secret.
    pub(crate) fn secret_authority(&self) -> Option<Print> {
        self.secret.there().and_then(|held| held.authority).map(|authority| authority.print)
    }

    /// Entries that have to trust our CA: (configuration, position, entry).
    pub(crate) fn own_entries(&self) -> impl Iterator<Item = (usize, usize, &Entry)> {
        let authority = self.secret_authority();
        let all = self.configurations.iter().enumerate().flat_map(|(index, configuration)| {
            let entries = configuration.entries.there().map(Vec::as_slice).unwrap_or_default();
            entries.iter().enumerate().map(move |(at, entry)| (index, at, entry))
        });
        all.filter(move |(_, _, entry)| entry.follows(authority))
    }

    /// Whether a configuration could not be read: nobody knows whom its clients trust.
    pub(crate) fn is_blind(&self) -> bool {
        self.configurations.iter().any(|it| matches!(it.entries, Seen::Unknown(_)))
    }

    /// Whether every entry of ours that was read holds this CA.
    pub(crate) fn is_carried(&self, authority: Print) -> bool {
        self.own_entries().all(|(_, _, entry)| entry.holds(authority))
    }
}
