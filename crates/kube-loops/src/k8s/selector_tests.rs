// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use serde_json::json;

use super::selector::{Selector, SelectorError};

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn text_selectors_select_as_kubernetes_does() {
    for (selector, object, want) in [
        ("", "a=1", true),
        ("app=web", "app=web x=y", true),
        ("app==web", "app=web", true),
        ("app=web", "app=api", false),
        ("app=web", "", false),
        ("app!=web", "app=api", true),
        ("app!=web", "", true),
        ("app in (web, api)", "app=api", true),
        ("app in (web,api)", "app=db", false),
        ("app notin (web)", "", true),
        ("app notin (web)", "app=web", false),
        ("app", "app=", true),
        ("!app", "app=", false),
        ("! app", "", true),
        ("app=", "app=", true),
        ("app in (,a)", "app=", true),
        ("size > 3", "size=4", true),
        ("size>3", "size=3", false),
        ("size < 3", "size=x", false),
        ("a=1,b notin (2,3),c,!d", "a=1 b=4 c=5", true),
        ("a=1,b notin (2,3),c,!d", "a=1 b=4 c=5 d=6", false),
        ("ray.io/node-type=head", "ray.io/node-type=head", true),
        ("in in (in)", "in=in", true),
    ] {
        let parsed = Selector::parse(selector).unwrap();
        assert_eq!(parsed.matches(&labels(object)), want, "{selector} on {object}");
        assert_eq!(Selector::parse(&parsed.to_string()), Ok(parsed), "printed form of {selector}");
    }
}

#[test]
fn nonsense_is_refused() {
    for text in [
        "=a", "a b", "a in", "a in b", "a in (b", "a=b,", ",a", "a=b c", "a>b", "a==b==c", "(", "-a=b", "a=ü",
    ] {
        assert!(Selector::parse(text).is_err(), "{text}");
    }
}

#[test]
fn label_selectors_and_plain_maps_are_told_apart() {
    let of = |value: serde_json::Value| Selector::of_json(&value).map(|selector| selector.to_string());
    assert_eq!(of(json!({"app": "web", "tier": "x"})), Ok("app=web,tier=x".into()));
    assert_eq!(of(json!({"matchLabels": {"app": "web"}})), Ok("app=web".into()));
    let expressions =
        json!([{"key": "a", "operator": "In", "values": ["x", "y"]}, {"key": "b", "operator": "Exists"}]);
    assert_eq!(of(json!({"matchExpressions": expressions})), Ok("a in (x,y),b".into()));
    assert_eq!(of(json!({})), Ok(String::new()));
    assert_eq!(of(json!({"matchLabels": {}})), Ok(String::new()));
    assert_eq!(of(json!({"matchLabels": {}, "other": 1})), Err(SelectorError::Shape));
    assert_eq!(of(json!("app=web")), Err(SelectorError::Shape));
    let bad = json!({"matchExpressions": [{"key": "a", "operator": "In"}]});
    assert_eq!(of(bad), Err(SelectorError::Operator("In".into())));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z0-9=!<>(),. /é-]{0,32}") {
        let _: Result<_, _> = Selector::parse(&text);
    }
}
