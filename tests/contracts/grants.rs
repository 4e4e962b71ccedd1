// SPDX-License-Identifier: Apache-2.0
//! Permissions as a flat set, so that roles and declarations can be compared.

use std::{collections::BTreeSet, fmt};

use kube_loops::runtime::controller::Permission;
use serde_json::Value;

/// One verb on one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    /// `core` for the empty group.
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) verb: String,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.group, self.resource, self.verb)
    }
}

pub(crate) type Grants = BTreeSet<Grant>;

fn product<S: AsRef<str>>(groups: &[S], resources: &[S], verbs: &[S]) -> Grants {
    let mut grants = Grants::new();
    for group in groups {
        let group = if group.as_ref().is_empty() { "core" } else { group.as_ref() };
        for resource in resources {
            for verb in verbs {
                let (resource, verb) = (resource.as_ref().to_owned(), verb.as_ref().to_owned());
                grants.insert(Grant { group: group.to_owned(), resource, verb });
            }
        }
    }
    grants
}

/// What a Role or a cluster's role grants.
pub(crate) fn of_role(role: &Value) -> Grants {
    let list =
        |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).expect("a list of strings") };
    let rules = role["rules"].as_array().expect("a role has rules");
    rules
        .iter()
        .inspect(|rule| {
            assert!(rule.get("resourceNames").is_none(), "resourceNames are not understood: {rule}");
        })
        .flat_map(|rule| product(&list(&rule["apiGroups"]), &list(&rule["resources"]), &list(&rule["verbs"])))
        .collect()
}

/// Lines `group resources verbs`, lists separated by commas; `#` opens a comment.
pub(crate) fn of_text(text: &str) -> Grants {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .flat_map(|line| {
            let lists: Vec<Vec<&str>> = line.split(' ').map(|list| list.split(',').collect()).collect();
            let [groups, resources, verbs] = lists.as_slice() else { panic!("not a row: {line}") };
            product(groups, resources, verbs)
        })
        .collect()
}

/// What a controller must be allowed to do.
pub(crate) fn of_permissions(permissions: &BTreeSet<Permission>) -> Grants {
    let grants = permissions.iter().flat_map(|it| product(&[it.group.as_str()], &[&it.resource], &[it.verb]));
    grants.collect()
}

/// Whether a grant, which may be one for all resources of its group, covers the need.
fn covers(grant: &Grant, need: &Grant) -> bool {
    grant.group == need.group
        && (grant.resource == need.resource || grant.resource == "*")
        && (grant.verb == need.verb || grant.verb == "*")
}

/// Needs that no grant covers.
pub(crate) fn missing(granted: &Grants, needed: &Grants) -> Vec<String> {
    needed
        .iter()
        .filter(|need| !granted.iter().any(|grant| covers(grant, need)))
        .map(ToString::to_string)
        .collect()
}

/// Grants that cover no need.
pub(crate) fn excess(granted: &Grants, needed: &Grants) -> Vec<String> {
    granted
        .iter()
        .filter(|grant| !needed.iter().any(|need| covers(grant, need)))
        .map(ToString::to_string)
        .collect()
}

mod tests {
    use super::{excess, missing, of_role, of_text};

    #[test]
    fn a_verb_that_is_not_granted_is_missing_and_one_nobody_needs_is_excess() {
        let granted = of_text("apps deployments,statefulsets get,list\ncore pods watch");
        let needed = of_text("apps deployments get,patch\ncore pods watch");
        assert_eq!(missing(&granted, &needed), ["apps deployments patch"]);
        assert_eq!(
            excess(&granted, &needed),
            ["apps deployments list", "apps statefulsets get", "apps statefulsets list"]
        );
    }

    #[test]
    fn a_star_covers_every_resource_of_its_group_only() {
        let granted = of_text("custom.metrics.k8s.io * get");
        assert_eq!(missing(&granted, &of_text("custom.metrics.k8s.io pods/x get")), Vec::<String>::new());
        assert_eq!(missing(&granted, &of_text("metrics.k8s.io pods get")).len(), 1);
    }

    #[test]
    fn roles_and_text_mean_the_same() {
        let role = serde_json::json!({"rules": [
            {"apiGroups": ["", "apps"], "resources": ["a"], "verbs": ["get", "list"]}
        ]});
        assert_eq!(of_role(&role), of_text("core,apps a get,list\n\n# prose\n"));
    }
}
