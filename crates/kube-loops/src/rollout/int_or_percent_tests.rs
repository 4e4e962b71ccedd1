// SPDX-License-Identifier: Apache-2.0

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;

use super::int_or_percent::*;
use super::replica_cases::cases;

fn text(text: &str) -> IntOrString {
    IntOrString::String(text.to_owned())
}

fn parse(value: &IntOrString) -> Result<Amount, AmountError> {
    Amount::parse(value, QuotedIntegers::Refuse)
}

/// Up and down as `GetScaledValueFromIntOrPercent` of `k8s.io/apimachinery` v0.36.3 printed them.
#[test]
fn scaled_values_are_those_of_kubernetes() {
    let table = [
        (IntOrString::Int(3), 10, 3, 3),
        (text("25%"), 10, 3, 2),
        (text("33%"), 10, 4, 3),
        (text("+5%"), 10, 1, 0),
        (text("010%"), 10, 1, 1),
        (text("29%"), 100, 29, 29),
        (text("7%"), 100, 7, 7),
        (text("200%"), 3, 6, 6),
        (text("0%"), 7, 0, 0),
    ];
    for (value, total, up, down) in table {
        let amount = parse(&value).unwrap();
        assert_eq!(
            (amount.of(total, Rounding::Up), amount.of(total, Rounding::Down)),
            (up, down),
            "{value:?}"
        );
    }
}

#[test]
fn what_kubernetes_cannot_read_is_malformed() {
    for bad in ["1", "abc", "%", " 5%", "5.5%", "5%%", "", "1_0%", "0x5%", "99999999999999999999%"] {
        assert_eq!(parse(&text(bad)), Err(AmountError::Malformed(bad.to_owned())), "{bad:?}");
    }
}

#[test]
fn negative_values_are_refused_though_kubernetes_computes_with_them() {
    assert_eq!(parse(&IntOrString::Int(-3)), Err(AmountError::Negative("-3".to_owned())));
    assert_eq!(parse(&text("-5%")), Err(AmountError::Negative("-5%".to_owned())));
}

#[test]
fn quoted_integers_count_only_where_they_are_accepted() {
    assert_eq!(Amount::parse(&text("3"), QuotedIntegers::Accept), Ok(Amount::Count(3)));
    assert_eq!(Amount::parse(&text("3%"), QuotedIntegers::Accept), Ok(Amount::Percent(3)));
    assert_eq!(
        Amount::parse(&text("-3"), QuotedIntegers::Accept),
        Err(AmountError::Negative("-3".to_owned()))
    );
    assert!(parse(&text("3")).is_err());
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn rounding_up_and_down_enclose_the_exact_share(percent in 0_u32..400, total in 0_usize..5000) {
        let amount = Amount::Percent(percent);
        let (up, down) = (amount.of(total, Rounding::Up), amount.of(total, Rounding::Down));
        let exact = percent as usize * total;
        prop_assert!(down * 100 <= exact && exact <= up * 100);
        prop_assert!(up - down <= 1);
        prop_assert_eq!(up == down, exact.is_multiple_of(100));
    }

    #[test]
    fn no_text_panics(text in ".{0,12}", total in any::<usize>()) {
        if let Ok(amount) = Amount::parse(&IntOrString::String(text), QuotedIntegers::Accept) {
            prop_assert!(amount.of(total, Rounding::Down) <= amount.of(total, Rounding::Up));
        }
    }
}
