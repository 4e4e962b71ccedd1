// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use super::interner::Interner;

#[test]
fn equal_strings_are_one() {
    let interner = Interner::new();
    let (a, b) = (interner.share("app"), interner.share(&String::from("app")));
    assert!(Arc::ptr_eq(&a, &b));
    assert_eq!(interner.len(), 1);
}

#[test]
fn strings_that_nobody_uses_go_in_time() {
    let interner = Interner::new();
    let kept = interner.share("kept");
    for n in 0..100_000 {
        interner.share(&format!("pod-{n}"));
    }
    assert!(interner.len() < 3000, "{} strings", interner.len());
    assert!(Arc::ptr_eq(&kept, &interner.share("kept")));
}
