// SPDX-License-Identifier: Apache-2.0
//! The image without a container engine: its root directory, assembled by the script that the Dockerfile
//! runs, and the binary run inside as the user of the pod.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::manifests::root;

/// Everything apart from the program: the whole image stays below 40 MB with a release binary of 20.
const MAX_KIB: u64 = 20 * 1024;

fn assemble(directory: &Path) {
    let output = Command::new("sh")
        .arg(root().join("deploy/image-root.sh"))
        .arg(env!("CARGO_BIN_EXE_aibrix-controller-manager"))
        .arg(directory)
        .output()
        .expect("sh runs");
    assert!(output.status.success(), "deploy/image-root.sh: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs the program with the directory as its root, as uid and gid 65532, without any capability.
fn run_inside(directory: &Path, arguments: &[&str]) -> Output {
    Command::new("unshare")
        .args(["--user", "--map-user=65532", "--map-group=65532", "--wd=/"])
        .arg(format!("--root={}", directory.display()))
        .args(["--", "/manager"])
        .args(arguments)
        .env_clear()
        .output()
        .unwrap_or_else(|error| panic!("unshare (util-linux) is needed to enter the image's root: {error}"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the image is readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() && !path.is_symlink() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn the_image_holds_the_program_and_what_it_needs_and_nothing_else() {
    let image = tempfile::tempdir().expect("a temporary folder");
    assemble(image.path());
    let mut found = Vec::new();
    files(image.path(), &mut found);
    let mut kib = 0;
    for path in &found {
        let inner = path.strip_prefix(image.path()).expect("inside").to_string_lossy().into_owned();
        let known = inner == "manager"
            || ["etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/ssl/certs/ca-certificates.crt"]
                .contains(&inner.as_str())
            || inner.starts_with("usr/share/zoneinfo/")
            || inner.starts_with("var/lib/dpkg/status.d/")
            || (inner.contains("lib") && (inner.contains(".so") || inner.contains("/ld-")));
        assert!(known, "{inner} is not needed");
        let meta = std::fs::metadata(path).unwrap_or_else(|error| panic!("{inner} leads nowhere: {error}"));
        if inner != "manager" {
            kib += meta.len() / 1024;
        }
    }
    assert!(kib < MAX_KIB, "{kib} KiB beside the program");
    for needed in ["manager", "usr/share/zoneinfo/Asia/Shanghai", "usr/share/zoneinfo/UTC"] {
        assert!(image.path().join(needed).exists(), "{needed} is missing");
    }
}

#[test]
fn the_program_runs_in_the_image_as_the_user_of_the_pod() {
    let image = tempfile::tempdir().expect("a temporary folder");
    assemble(image.path());
    let output = run_inside(image.path(), &["version"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
