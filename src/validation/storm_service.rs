// SPDX-License-Identifier: Apache-2.0
//! The spec of a StormService, as admission sees it: raw JSON, so that it can be judged by a manager that
//! knows nothing else of it.
//!
//! A creation is judged in full. A change is only refused for what it makes worse, so that an object that got
//! in while the webhook was down stays editable; what else is wrong with it is said as a warning.

use std::collections::HashSet;

use serde_json::Value;

use crate::gocompat::quote::quote;
use kube_loops::k8s::{
    names::{is_dns1123_label, is_service_name},
    text,
};

use super::field_error::FieldError;

/// Longest name of a StormService, in bytes: it is the value of a label.
const LONGEST_NAME: usize = 63;
/// Longest name of a pod that a name of its set leaves room for, in bytes.
const LONGEST_POD_NAME: usize = 63;
/// What the names of the pods of a pod group add to those of StormService and role, in bytes.
const POD_GROUP_SUFFIX: usize = 36;
/// Longest name of a role, in bytes: it ends the key of an annotation.
const LONGEST_ROLE_NAME: usize = 44;
/// Longest value that a message repeats, in bytes.
const SHOWN_BYTES: usize = 256;

const NAME: &str = "metadata.name";
const TEMPLATE: &str = "spec.template.spec";
/// Which of its counts a StormService declares to be scaled.
const MODE: &str = "/spec/mode";
const REPLICAS: &str = "/spec/replicas";
/// Path and key of the amounts of a rolling update.
const AMOUNTS: [(&str, &str); 2] = [
    ("spec.updateStrategy.maxUnavailable", "/spec/updateStrategy/maxUnavailable"),
    ("spec.updateStrategy.maxSurge", "/spec/updateStrategy/maxSurge"),
];

/// Everything for which a creation is refused. An empty `name` is one that the API server still has to make.
pub(crate) fn creation_errors(name: &str, service: &Value) -> Vec<FieldError> {
    let mut errors: Vec<_> = length_error(name, service).into_iter().collect();
    if template_spec(service).is_none() {
        errors
            .push(FieldError::required(TEMPLATE, "a StormService without a RoleSet spec has nothing to run"));
    }
    errors.extend(name_error(name));
    errors.extend(role_name_errors(service));
    errors.extend(AMOUNTS.into_iter().filter_map(|(field, key)| amount_error(field, service.pointer(key)?)));
    errors.extend(pooled_error(service, replicas(service)));
    errors
}

/// Why a StormService may not be scaled to `wanted` replicas; `None`: it may, or has them.
pub(crate) fn scale_error(service: &Value, wanted: i64) -> Option<FieldError> {
    if replicas(service) == wanted { None } else { pooled_error(service, wanted) }
}

/// One that is declared to be scaled by the replicas of its roles has at most one RoleSet.
fn pooled_error(service: &Value, wanted: i64) -> Option<FieldError> {
    let pooled = service.pointer(MODE).is_some_and(|mode| mode == "Pooled");
    (pooled && wanted > 1).then(|| {
        let detail = format!(
            "spec.mode Pooled allows at most one replica, got {wanted}; scale spec.template.spec.roles[].replicas \
             instead"
        );
        FieldError::invalid("spec.replicas", wanted, detail)
    })
}

/// Replicas that a StormService asks for.
fn replicas(service: &Value) -> i64 {
    service.pointer(REPLICAS).and_then(Value::as_i64).unwrap_or(1)
}

/// What a change makes worse.
pub(crate) fn update_errors(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let leaving = is_leaving(new);
    if !leaving && template_spec(old).is_some() && template_spec(new).is_none() {
        errors
            .push(FieldError::required(TEMPLATE, "it cannot be taken away, delete the StormService instead"));
    }
    let changed = AMOUNTS.into_iter().filter(|(_, key)| !leaving && old.pointer(key) != new.pointer(key));
    errors.extend(changed.filter_map(|(field, key)| amount_error(field, new.pointer(key)?)));
    let as_before = [MODE, REPLICAS].iter().all(|key| old.pointer(key) == new.pointer(key));
    if !leaving && !as_before {
        errors.extend(pooled_error(new, replicas(new)));
    }
    errors
}

/// What is wrong with an object that exists.
pub(crate) fn update_warnings(service: &Value) -> Vec<String> {
    if is_leaving(service) {
        return Vec::new();
    }
    let name = service.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
    let errors = name_error(name).into_iter().chain(role_name_errors(service));
    errors.map(|error| error.to_string()).collect()
}

fn is_leaving(service: &Value) -> bool {
    service.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

fn template_spec(service: &Value) -> Option<&Value> {
    service.pointer("/spec/template/spec").filter(|spec| !spec.is_null())
}

fn roles(service: &Value) -> impl Iterator<Item = &Value> {
    service.pointer("/spec/template/spec/roles").and_then(Value::as_array).into_iter().flatten()
}

fn name_of(role: &Value) -> &str {
    role.get("name").and_then(Value::as_str).unwrap_or("")
}

/// Names that are longer than what is made of them may be.
fn length_error(name: &str, service: &Value) -> Option<FieldError> {
    if name.len() > LONGEST_NAME {
        let detail = format!("StormService name must be no more than {LONGEST_NAME} characters");
        return Some(FieldError::invalid(NAME, text::cut(name, SHOWN_BYTES), detail));
    }
    let grouped = roles(service).filter(|role| {
        let size = role.get("podGroupSize").and_then(Value::as_i64);
        size.is_some_and(|size| size > 1)
    });
    let longest = grouped.map(name_of).max_by_key(|role| role.len())?;
    let estimate = name.len() + longest.len() + POD_GROUP_SUFFIX;
    (!name.is_empty() && estimate > LONGEST_POD_NAME).then(|| {
        let detail = format!(
            "the names of its pods would be too long: StormService name ({} characters) and role name {} ({} \
             characters) make about {estimate} characters, and {LONGEST_POD_NAME} are possible; use a shorter \
             name for the StormService or the role",
            name.len(),
            quote(&text::cut(longest, SHOWN_BYTES)),
            longest.len(),
        );
        FieldError::invalid(NAME, name, detail)
    })
}

/// A name under which no headless Service can be made.
fn name_error(name: &str) -> Option<FieldError> {
    let possible = name.is_empty() || name.len() > LONGEST_NAME || is_service_name(name);
    (!possible).then(|| {
        let detail = "a StormService needs a Service of its name: lower-case letters, digits and '-', beginning \
                      with a letter and ending with a letter or digit";
        FieldError::invalid(NAME, name, detail)
    })
}

fn role_name_errors(service: &Value) -> Vec<FieldError> {
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (place, role) in roles(service).enumerate() {
        let (field, name) = (format!("{TEMPLATE}.roles[{place}].name"), name_of(role));
        let invalid =
            |field: String, detail: String| FieldError::invalid(field, text::cut(name, SHOWN_BYTES), detail);
        if name.is_empty() {
            errors.push(FieldError::required(field, "must be set"));
            continue;
        }
        if !seen.insert(name) {
            errors.push(invalid(field, "another role has this name".to_owned()));
        } else if name.len() > LONGEST_ROLE_NAME {
            errors.push(invalid(field, format!("must be no more than {LONGEST_ROLE_NAME} characters")));
        } else if !is_dns1123_label(name) {
            let detail =
                "lower-case letters, digits and '-' only, beginning and ending with a letter or digit";
            errors.push(invalid(field, detail.to_owned()));
        }
    }
    errors
}

/// Neither a number from 0 on nor such a number of percent. Both amounts may be 0, and more than 100% is
/// possible.
fn amount_error(field: &str, amount: &Value) -> Option<FieldError> {
    let number = match amount {
        Value::Null => return None,
        Value::String(text) => text.strip_suffix('%').and_then(|number| number.parse::<i32>().ok()),
        Value::Number(number) => number.as_i64().and_then(|number| i32::try_from(number).ok()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let detail = match number {
        Some(0..) => return None,
        Some(_) => "must not be negative",
        None => "must be a whole number or a percentage such as 25%",
    };
    let shown = match amount {
        Value::String(text) => text::cut(text, SHOWN_BYTES).into(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            amount.clone()
        }
    };
    Some(FieldError::invalid(field, shown, detail))
}
