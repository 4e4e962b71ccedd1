// SPDX-License-Identifier: Apache-2.0
//! Who may name whom.

use crate::{
    rules::{EVERYTHING, MAY_USE},
    source::{Source, Violation},
};

fn may_use(module: &str) -> Option<&'static [&'static str]> {
    MAY_USE.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed)
}

/// The row of the table under which a path stands: its module, behind the crate's name in a library of ours that has
/// rows for its modules.
fn row(path: &[String]) -> Option<String> {
    let first = path.first()?;
    let inner = path.get(1).map(|second| format!("{first}::{second}"));
    inner.filter(|inner| may_use(inner).is_some()).or_else(|| Some(first.clone()))
}

/// Paths into a module that the table does not allow.
pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test) {
        let module = source.module();
        let Some(own) = row(&module) else { continue };
        let Some(allowed) = may_use(&own) else { continue };
        if allowed == EVERYTHING {
            continue;
        }
        for mention in source.mentions() {
            let Some(target) = row(&mention.segments) else { continue };
            if target == own || may_use(&target).is_none() {
                continue;
            }
            let path = mention.segments.join("::");
            let fits = |place: &str| path == place || path.starts_with(&format!("{place}::"));
            if !allowed.iter().any(|place| fits(place)) {
                let list = if allowed.is_empty() { "nothing".into() } else { allowed.join(", ") };
                let reason = format!("`{own}` names `{path}`: it may use {list} (arrows point down)");
                found.push(source.violation(mention.line, reason));
            }
        }
    }
    found
}

/// A folder with a `reconcile.rs` is a loop. A loop may name neither another loop nor another controller:
/// two loops talk through objects.
pub(crate) fn check_loops(sources: &[Source]) -> Vec<Violation> {
    let loops: Vec<Vec<String>> = sources
        .iter()
        .filter(|source| source.path.ends_with("/reconcile.rs"))
        .map(|source| {
            let mut module = source.module();
            module.pop();
            module
        })
        .collect();
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test) {
        let module = source.module();
        let [group, controller, ..] = module.as_slice() else { continue };
        if group != "controllers" {
            continue;
        }
        let own_loop = loops.iter().find(|folder| module.starts_with(folder));
        for mention in source.mentions() {
            let [target_group, target, ..] = mention.segments.as_slice() else { continue };
            if target_group != "controllers" {
                continue;
            }
            // What all of them are given: a type of the folder above.
            if target.starts_with(char::is_uppercase) {
                continue;
            }
            let other_loop = loops.iter().find(|folder| mention.segments.starts_with(folder));
            let crosses = own_loop.is_some() && other_loop.is_some() && own_loop != other_loop;
            if target != controller || crosses {
                let path = mention.segments.join("::");
                let reason =
                    format!("a loop names `{path}`: loops talk through objects, and share code below");
                found.push(source.violation(mention.line, reason));
            }
        }
    }
    found
}

/// A module without a row in the table would escape it.
pub(crate) fn check_known(sources: &[Source]) -> Vec<Violation> {
    sources
        .iter()
        .filter(|source| !source.is_test)
        .filter(|source| row(&source.module()).is_some_and(|row| may_use(&row).is_none()))
        .map(|source| {
            source.violation(1, "the module has no row in the layer table (tests/architecture/rules.rs)")
        })
        .collect()
}
