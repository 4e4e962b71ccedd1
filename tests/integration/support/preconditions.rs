// SPDX-License-Identifier: Apache-2.0
//! The oracle: whether every change that a process of ours asks for would be refused if somebody else had changed the
//! object since it was decided on.
//!
//! Without a precondition are: what is created (under a name that the plan determines, or found by its owner and cut
//! back), Events, reviews, which are creations, and the presence Lease of a process, which nobody else writes.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use serde_json::Value;

use super::audit::Entry;

/// How the names of presence Leases begin.
const PRESENCE: &str = "aibrix-controller-manager-";

/// Why a late copy of this request would undo what was written since; `None`: it would not.
pub(crate) fn unguarded(entry: &Entry) -> Option<String> {
    let object = entry.object.as_ref()?;
    let presence = entry.is_lease() && object.name.starts_with(PRESENCE);
    let exempt = entry.verb == "create" || object.resource == "events" || presence;
    if entry.caller.is_none() || !entry.is_write() || exempt {
        return None;
    }
    let Some(request) = &entry.request else {
        // Refused before its body was read, it changed nothing.
        return entry.is_ok().then(|| format!("its body is not in the audit log: {}", shown(entry)));
    };
    let text =
        |pointer: &str| request.pointer(pointer).and_then(Value::as_str).is_some_and(|it| !it.is_empty());
    let guarded = match (entry.verb.as_str(), request) {
        ("delete", _) => text("/preconditions/uid"),
        ("patch", Value::Array(operations)) => tests_what_was_read(operations),
        ("update" | "patch", _) => text("/metadata/resourceVersion"),
        _ => false,
    };
    (!guarded).then(|| format!("{} with {request}", shown(entry)))
}

fn tests_what_was_read(operations: &[Value]) -> bool {
    let tests = || operations.iter().filter(|it| it["op"] == "test" && !it["value"].is_null());
    let tested = |path: &str| tests().any(|it| it["path"] == path);
    tested("/metadata/resourceVersion") || (tested("/metadata/uid") && tests().count() > 1)
}

fn shown(entry: &Entry) -> String {
    format!("{} {} by {} ({})", entry.verb, entry.uri, entry.user_agent, entry.code)
}

/// Reads an audit log as it grows, and only what is about changes by processes of ours.
#[derive(Debug, Default)]
pub(crate) struct Preconditions {
    position: u64,
}

impl Preconditions {
    /// The requests without a precondition since the last call.
    ///
    /// # Panics
    /// When a line is no audit event.
    pub(crate) fn missing(&mut self, log: &Path) -> Vec<String> {
        let Ok(mut file) = File::open(log) else { return Vec::new() };
        file.seek(SeekFrom::Start(self.position)).expect("seek in the audit log");
        let mut new = Vec::new();
        file.read_to_end(&mut new).expect("read the audit log");
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.position += u64::try_from(whole).expect("a length");
        let new = String::from_utf8_lossy(&new[..whole]);
        let ours = new.lines().filter(|line| {
            let read = [r#""verb":"get""#, r#""verb":"list""#, r#""verb":"watch""#];
            line.contains(r#""userAgent":"aibrix-controller-manager/"#)
                && !read.iter().any(|it| line.contains(it))
        });
        let entries = ours.filter_map(|line| {
            Entry::parse(line).unwrap_or_else(|error| panic!("audit line ({error}): {line}"))
        });
        entries.filter_map(|entry| unguarded(&entry)).collect()
    }
}
