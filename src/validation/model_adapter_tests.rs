// SPDX-License-Identifier: Apache-2.0
use super::{field_error::aggregate_message, model_adapter::field_errors};
use crate::api::model::ModelAdapterSpec;

fn refusal(url: &str, replicas: Option<i32>) -> String {
    let spec = ModelAdapterSpec { artifact_url: url.into(), replicas, ..Default::default() };
    aggregate_message(&field_errors(&spec))
}

const SUPPORTED: &str = "supported schemas are [s3:// gcs:// tos:// huggingface:// hf:// /]";

#[test]
fn supported_urls_are_accepted() {
    for url in [
        "s3://test-bucket/test-model",
        "gcs://b/p",
        "tos://b/p",
        "hf://a/b",
        "huggingface://a/b",
        "huggingface://Org/Repo-X?revision=main",
        "/models/x",
    ] {
        for replicas in [None, Some(1)] {
            assert_eq!(refusal(url, replicas), "", "{url}");
        }
    }
}

#[test]
fn other_schemes_are_refused_by_name() {
    for url in ["ms://x", "ftp://b/p", "hugingface://a/b", "gs://b/p", "https://h/x", "S3://b/k", "file:///x"]
    {
        let want =
            format!(r#"spec.artifactURL: Invalid value: "{url}": unsupported schema "{url}", {SUPPORTED}"#);
        assert_eq!(refusal(url, None), want);
    }
}

#[test]
fn texts_that_are_no_url_are_refused_in_the_words_of_the_parser() {
    for (url, problem) in [("aabbcc", "invalid URI for request"), ("", "empty url")] {
        let want = format!(
            "[spec.artifactURL: Invalid value: \"{url}\": artifactURL is invalid: parse \"{url}\": {problem}, \
             spec.artifactURL: Invalid value: \"{url}\": unsupported schema \"{url}\", {SUPPORTED}]"
        );
        assert_eq!(refusal(url, None), want);
    }
    let want = r#"spec.artifactURL: Invalid value: "s3://b/%zz": artifactURL is invalid: parse "s3://b/%zz": invalid URL escape "%zz""#;
    assert_eq!(refusal("s3://b/%zz", None), want);
}

#[test]
fn replicas_are_told_between_the_two_problems_of_a_url() {
    for replicas in [0, -1] {
        let want = format!("spec.replicas: Invalid value: {replicas}: replicas must be greater than 0");
        assert_eq!(refusal("/m", Some(replicas)), want);
        let all = refusal("x", Some(replicas));
        let at = |text: &str| all.find(text).unwrap();
        assert!(at("artifactURL is invalid") < at(&want) && at(&want) < at("unsupported schema"), "{all}");
    }
}

#[test]
fn no_message_repeats_credentials_or_control_characters() {
    for url in [
        "ftp://user:hush@host/x",
        "ftp://user:hu/sh@host/x",
        "s3://user:hush hush@host/x",
        "s3://user:hush%zzhush@host",
        "s3://user:pa/hush@host",
        "user:hush@host",
        "https://host/x?signature=hush",
        "s3://b/\r\nX-Evil: 1?token=hush",
    ] {
        let message = refusal(url, None);
        assert!(!message.is_empty() && !message.contains("hush"), "{message}");
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
}

#[test]
fn a_visible_defect_is_told_although_something_is_hidden() {
    let message = refusal("s3://user:hush@ho st/x", None);
    assert!(
        message.contains(r#"parse "s3://xxxxx@ho st/x": invalid character " " in host name"#),
        "{message}"
    );
}

#[test]
fn a_long_url_is_cut_in_messages() {
    let url = format!("ftp://{}", "é".repeat(1 << 20));
    assert!(refusal(&url, None).len() < 10_000);
}
