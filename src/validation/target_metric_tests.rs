// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::target_metric::{CompiledMatchers, SyntaxError, TargetMetric};

fn parse(text: &str) -> TargetMetric {
    TargetMetric::parse(text).unwrap()
}

fn compile(text: &str) -> CompiledMatchers {
    parse(text).matchers.compile()
}

#[test]
fn name_is_everything_before_the_brace() {
    for (text, name, matchers) in [
        ("num_requests_running", "num_requests_running", ""),
        ("vllm:num_requests_running", "vllm:num_requests_running", ""),
        ("s0-prometheus", "s0-prometheus", ""),
        ("load{}", "load", ""),
        ("load {engine = \"1\" , model!=\"a\",}  ", "load", "{engine=\"1\",model!=\"a\"}"),
        ("load{b=\"2\",a=\"1\",a=\"1\"}", "load", "{a=\"1\",b=\"2\"}"),
        ("a-b{\"scaledobject.keda.sh/name\"=\"eng\"}", "a-b", "{scaledobject.keda.sh/name=\"eng\"}"),
        (r#"m{path=~"/v1/.*\\.json",q!~"\"x\""}"#, "m", r#"{path=~"/v1/.*\\.json",q!~"\"x\""}"#),
    ] {
        let parsed = parse(text);
        assert_eq!((parsed.name.as_str(), parsed.matchers.to_string().as_str()), (name, matchers), "{text}");
    }
}

#[test]
fn errors_name_the_character() {
    for (text, at, what) in [
        ("{a=\"1\"}", 1, "expected the name of a metric"),
        ("m{", 3, "expected a label"),
        ("m{a", 4, "expected =, !=, =~ or !~"),
        ("m{a>\"1\"}", 4, "expected =, !=, =~ or !~"),
        ("m{a=1}", 5, "expected a quoted text"),
        ("m{a=\"1}", 8, "expected a closing quote"),
        ("m{a=\"1\"", 8, "expected , or }"),
        ("m{a=\"1\" b=\"2\"}", 9, "expected , or }"),
        ("m{a=\"1\"} or up", 10, "expected nothing more"),
        ("größe{=\"1\"}", 7, "expected a label"),
        (r#"m{a="\d"}"#, 7, r#"expected \\, \" or \n"#),
        ("m{a=~\"(\"}", 6, "\"(\" is not a regular expression of at most 64 KiB"),
        ("m{a=~\"(a{500}){500}\"}", 6, "\"(a{500}){500}\" is not a regular expression of at most 64 KiB"),
    ] {
        let expected = SyntaxError { at, what: what.to_owned() };
        assert_eq!(TargetMetric::parse(text), Err(expected), "{text}");
    }
    let error = TargetMetric::parse("m{").unwrap_err();
    assert_eq!(error.to_string(), "expected a label at character 3");
}

#[test]
fn metrics_apis_take_label_selectors_only() {
    let selector = |text| TargetMetric::api_matchers(text).map(|matchers| matchers.label_selector());
    assert_eq!(
        selector("s0{\"scaledobject.keda.sh/name\"=\"eng\",tier!=\"test\"}").unwrap(),
        "scaledobject.keda.sh/name=eng,tier!=test"
    );
    assert_eq!(selector("s0").unwrap(), "");
    for (text, error) in [
        ("m{a=~\"x\"}", "=~ is not possible for a metrics API, which knows = and != at character 3"),
        ("m{b=\"1\",\"a b\"=\"x\"}", "\"a b\" is not a valid label key at character 10"),
        ("m{a=\"x y\"}", "\"x y\" is not a valid label value at character 3"),
    ] {
        assert_eq!(selector(text).unwrap_err().to_string(), error, "{text}");
    }
}

#[test]
fn values_are_compared_whole_and_an_absent_label_is_empty() {
    let labels = [("engine", "12"), ("model", "a")];
    let value_of = |label: &str| labels.iter().find(|(it, _)| *it == label).map_or("", |(_, value)| *value);
    for (text, matches) in [
        ("m{engine=\"12\"}", true),
        ("m{engine=\"1\"}", false),
        ("m{engine!=\"1\"}", true),
        ("m{engine=~\"1\"}", false),
        ("m{engine=~\"1.\"}", true),
        ("m{engine=~\"2|12\"}", true),
        ("m{engine!~\"1\"}", true),
        ("m{engine!~\"1.*\"}", false),
        ("m{other=\"\"}", true),
        ("m{other!=\"x\"}", true),
        ("m{engine=\"12\",model=\"b\"}", false),
    ] {
        assert_eq!(compile(text).matches(value_of), matches, "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_within_its_length(text in ".{0,40}", tail in "[{}=!~,\"\\\\a ]{0,12}") {
        let text = format!("{text}{tail}");
        if let Err(error) = TargetMetric::parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.at));
        }
    }
}
