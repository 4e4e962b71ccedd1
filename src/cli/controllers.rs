// SPDX-License-Identifier: Apache-2.0
//! The seven controllers by name and the grammar of `--controllers`, pure.

pub(crate) use crate::controllers::NAMES;

/// An item of a list that names no controller. The name stands without its leading dash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid controller specified: {0}")]
pub(crate) struct InvalidController(pub String);

/// The controller with exactly this name.
pub(crate) fn known(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|known| *known == name)
}

/// The default Lease of a controller.
pub(crate) fn default_lease(controller: &str) -> String {
    format!("aibrix-{controller}")
}

/// What a list means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The enabled controllers, in the order of [`NAMES`]. None is a valid answer.
    pub enabled: Vec<&'static str>,
    /// Items that name none of the seven, such as an empty one or `-*`; with any, the process may not start.
    pub invalid: Vec<InvalidController>,
}

/// Reads the value of `--controllers`.
///
/// Items stand between commas, with spaces around them ignored: `*` enables all, `name` one, `-name`
/// disables one. They apply from left to right, so the last item that concerns a controller wins.
pub(crate) fn select(list: &str) -> Selection {
    let mut enabled: Vec<&'static str> = Vec::new();
    let mut invalid = Vec::new();
    for item in list.split(',').map(str::trim) {
        if item == "*" {
            enabled = NAMES.to_vec();
            continue;
        }
        let (name, enable) = item.strip_prefix('-').map_or((item, true), |name| (name, false));
        match known(name) {
            None => invalid.push(InvalidController(name.to_owned())),
            Some(name) => {
                enabled.retain(|other| *other != name);
                if enable {
                    enabled.push(name);
                }
            }
        }
    }
    enabled.sort_by_key(|name| NAMES.iter().position(|known| known == name));
    Selection { enabled, invalid }
}
