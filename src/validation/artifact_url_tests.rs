// SPDX-License-Identifier: Apache-2.0
use super::artifact_url::{ArtifactUrlError, SidecarSource, engine_path, redacted, sidecar_source};

#[test]
fn engines_are_told_the_repository_or_the_url_as_it_is() {
    for (url, want) in [
        ("huggingface://Org/Repo-X", "Org/Repo-X"),
        ("hf://Org/R", "Org/R"),
        ("huggingface://Org/Repo?revision=a#b", "Org/Repo"),
        ("huggingface://Org/Re%20po#b?c", "Org/Re%20po"),
        ("hf://Org/R..x/.y", "Org/R..x/.y"),
        ("/m/x", "/m/x"),
        ("s3://b/k?versionId=1", "s3://b/k?versionId=1"),
        ("HF://Org/R", "HF://Org/R"),
        ("org/repo", "org/repo"),
        ("", ""),
    ] {
        assert_eq!(engine_path(url), Ok(want), "{url}");
    }
}

#[test]
fn a_repository_does_not_become_a_path_of_the_engine() {
    for (url, want) in [
        ("huggingface://", ArtifactUrlError::NoRepository),
        ("hf://?a", ArtifactUrlError::NoRepository),
        ("huggingface:///etc/passwd", ArtifactUrlError::Path),
        ("hf://../../etc", ArtifactUrlError::Path),
        ("hf://Org/../../x", ArtifactUrlError::Path),
        ("hf://./x", ArtifactUrlError::Path),
    ] {
        assert_eq!(engine_path(url), Err(want), "{url}");
    }
}

#[test]
fn the_sidecar_is_told_what_it_understands() {
    let url = |text: &str| SidecarSource::Url(text.to_owned().into());
    assert_eq!(sidecar_source("s3://b/k"), url("s3://b/k"));
    assert_eq!(sidecar_source("huggingface://Org/R"), url("huggingface://Org/R"));
    assert_eq!(sidecar_source("hf://Org/R"), url("huggingface://Org/R"));
    assert_eq!(sidecar_source("/m/x"), SidecarSource::Path("/m/x"));
}

#[test]
fn messages_show_neither_credentials_nor_queries() {
    for (url, want) in [
        ("s3://bucket/key", "s3://bucket/key"),
        ("hf://org/repo@v1", "hf://org/repo@v1"),
        ("https://token@host/x", "https://xxxxx@host/x"),
        ("s3://user:pass@bucket/key", "s3://xxxxx@bucket/key"),
        ("s3://user:p@ss@bucket/k", "s3://xxxxx@bucket/k"),
        ("s3://user:pa/ss@bucket", "s3://xxxxx@bucket"),
        ("user:pass@host", "xxxxx@host"),
        ("https://host/x?X-Amz-Signature=abc", "https://host/x?xxxxx"),
        ("https://u:p@host/x?sig=abc", "https://xxxxx@host/x?xxxxx"),
        ("s3://user:pa?ss@bucket", "s3://xxxxx"),
        ("s3://bucket/key?", "s3://bucket/key?"),
        ("/models/x", "/models/x"),
        ("", ""),
    ] {
        assert_eq!(redacted(url), want, "{url}");
    }
}
