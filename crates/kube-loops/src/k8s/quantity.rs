// SPDX-License-Identifier: Apache-2.0
//! Kubernetes quantities in their canonical form. What reads them: [`crate::rollout::template::quantity`].

/// Thousandths in the canonical decimal form: the largest suffix that leaves an integer, `500m`, `1`, `2k`.
pub fn format_milli(milli: i64) -> String {
    const SUFFIXES: [&str; 8] = ["m", "", "k", "M", "G", "T", "P", "E"];
    let mut number = milli;
    let mut rank = 0;
    while number != 0 && number % 1000 == 0 && rank + 1 < SUFFIXES.len() {
        number /= 1000;
        rank += 1;
    }
    if number == 0 {
        return "0".to_owned();
    }
    format!("{number}{}", SUFFIXES.get(rank).unwrap_or(&""))
}

/// Whole units in the canonical binary form: the largest suffix that leaves an integer, `128Mi`, `1000`.
pub fn format_binary(value: i64) -> String {
    const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut number = value;
    let mut rank = 0;
    while number != 0 && number % 1024 == 0 && rank + 1 < SUFFIXES.len() {
        number /= 1024;
        rank += 1;
    }
    format!("{number}{}", SUFFIXES.get(rank).unwrap_or(&""))
}
