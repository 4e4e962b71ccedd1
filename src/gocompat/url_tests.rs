// SPDX-License-Identifier: Apache-2.0
use super::url::check_request_uri;

#[test]
fn urls_of_requests_are_absolute_or_absolute_paths() {
    for good in [
        "*",
        "/",
        "/models/x",
        "//host/x%20y",
        "s3://bucket/key?a=%zz",
        "s3:opaque",
        "huggingface://Org/Repo-X#part",
        "http://[fe80::1%25en0]:80/",
        "http://user:pass@host:8080/x",
        "http://host:/x",
        "http://h%C3%A9te/",
        "ftp://",
        "a+b-c.1:",
        "/é",
        "http://é/",
    ] {
        assert_eq!(check_request_uri(good), Ok(()), "{good}");
    }
}

#[test]
fn refusals_use_the_words_of_go() {
    for (bad, want) in [
        ("", "empty url"),
        ("aabbcc", "invalid URI for request"),
        ("1a://b", "invalid URI for request"),
        ("a b://c", "invalid URI for request"),
        ("é://c", "invalid URI for request"),
        (":x", "missing protocol scheme"),
        ("s3://a\nb", "net/url: invalid control character in URL"),
        ("s3://a\u{7f}", "net/url: invalid control character in URL"),
        ("s3://bucket/%zz", r#"invalid URL escape "%zz""#),
        ("s3://bucket/%a", r#"invalid URL escape "%a""#),
        ("s3://bucket/%", r#"invalid URL escape "%""#),
        ("s3://bucket/%aé", r#"invalid URL escape "%a\xc3""#),
        ("s3://bu%41cket/", r#"invalid URL escape "%41""#),
        ("s3://b cket/", r#"invalid character " " in host name"#),
        ("s3://b\\cket/", r#"invalid character "\\" in host name"#),
        ("s3://b{cket/", r#"invalid character "{" in host name"#),
        ("s3://b:80a/", r#"invalid port ":80a" after host"#),
        ("s3://[::1/", "missing ']' in host"),
        ("s3://[::1]x/", r#"invalid port "x" after host"#),
        ("s3://a b@c/", "net/url: invalid userinfo"),
        ("s3://a%zz@c/", r#"invalid URL escape "%zz""#),
    ] {
        assert_eq!(check_request_uri(bad).unwrap_err().to_string(), want, "{bad:?}");
    }
}
