// SPDX-License-Identifier: Apache-2.0
use crate::rollout::template::quantity::are_equal;

use super::quantity::{format_binary, format_milli};

#[test]
fn quantities_are_printed_canonically() {
    for (milli, text) in [
        (0, "0"),
        (500, "500m"),
        (1000, "1"),
        (1500, "1500m"),
        (50_000, "50"),
        (2_000_000, "2k"),
        (-250, "-250m"),
    ] {
        assert_eq!(format_milli(milli), text);
    }
    for (bytes, text) in [(134_217_728, "128Mi"), (1000, "1000"), (1024, "1Ki"), (0, "0"), (1 << 30, "1Gi")] {
        assert_eq!(format_binary(bytes), text);
    }
}

proptest::proptest! {
    #[test]
    fn printed_quantities_are_the_numbers_that_they_came_from(number in -1_000_000_000_000_i64..1_000_000_000_000) {
        let (thousandths, whole) = (format!("{number}m"), number.to_string());
        proptest::prop_assert!(are_equal(&format_milli(number), &thousandths));
        proptest::prop_assert!(are_equal(&format_binary(number), &whole));
    }
}
