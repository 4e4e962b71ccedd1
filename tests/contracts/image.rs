// SPDX-License-Identifier: Apache-2.0
//! The image without a container engine: its root directory, assembled by the script that the Dockerfile
//! runs, and the binary run inside as the user of the pod.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
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
    command_inside(directory, arguments).output().unwrap_or_else(|error| {
        panic!("unshare (util-linux) is needed to enter the image's root: {error}");
    })
}

fn command_inside(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-user=65532", "--map-group=65532", "--wd=/"])
        .arg(format!("--root={}", directory.display()))
        .args(["--", "/manager"])
        .args(arguments)
        .env_clear();
    command
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

#[test]
fn time_zones_are_known_in_the_image() {
    let image = tempfile::tempdir().expect("a temporary folder");
    assemble(image.path());
    std::fs::write(image.path().join("kubeconfig"), "not a kubeconfig").expect("the root is writable here");
    let hour = |zone: &str| {
        let arguments =
            ["--kubeconfig=/kubeconfig", "--metrics-bind-address=0", "--health-probe-bind-address=0"];
        let output = command_inside(image.path(), &arguments).env("TZ", zone).output().expect("unshare runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // "I1124 04:15:52.689657 …": the first line of the log.
        let line = text.lines().find(|line| line.len() > 20 && line.starts_with(['I', 'W', 'E']));
        let line = line.unwrap_or_else(|| panic!("no log line: {output:?}"));
        let clock: Vec<i32> = line[6..14].split(':').map(|part| part.parse().expect("a number")).collect();
        clock[0] * 60 + clock[1]
    };
    // Kathmandu is 5:45 ahead: no default and no rounding gives that.
    let ahead = (hour("Asia/Kathmandu") - hour("UTC")).rem_euclid(24 * 60);
    assert!((344..=346).contains(&ahead), "Asia/Kathmandu is {ahead} minutes ahead of UTC");
}

/// Set for the run of [`names_resolve_inside`] in a network of its own.
const IN_OWN_NETWORK: &str = "IMAGE_TEST_IN_OWN_NETWORK";

#[test]
fn names_are_resolved_in_the_image_by_file_and_by_dns() {
    let script = "ip link set lo up && exec \"$0\" --ignored --exact --nocapture image::names_resolve_inside";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--", "sh", "-c", script])
        .arg(std::env::current_exe().expect("a test has a program"))
        .env(IN_OWN_NETWORK, "1")
        .output()
        .unwrap_or_else(|error| panic!("unshare (util-linux) is needed for a network of its own: {error}"));
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "the inner test did not run: {output:?}"
    );
}

/// The resolver and the API server of a pod, as small as can be: whoever connects has resolved the name.
#[test]
#[ignore = "needs port 53 of a network of its own: started by the test above"]
fn names_resolve_inside() {
    #[expect(clippy::disallowed_methods, reason = "tells a run by hand from the one in its own network")]
    let inside = std::env::var(IN_OWN_NETWORK).is_ok();
    assert!(inside, "started by names_are_resolved_in_the_image_by_file_and_by_dns only");
    let image = tempfile::tempdir().expect("a temporary folder");
    assemble(image.path());
    // What the kubelet puts into every pod.
    std::fs::write(image.path().join("etc/resolv.conf"), "search svc.image.test\nnameserver 127.0.0.1\n")
        .expect("the root is writable here");
    std::fs::write(image.path().join("etc/hosts"), "127.0.0.1 localhost by-file\n").expect("writable");

    let dns = UdpSocket::bind("127.0.0.1:53").expect("port 53 of a network of our own");
    thread::spawn(move || answer_names(&dns));
    for (name, asked) in [("by-file", "by-file"), ("by-dns", "by-dns.svc.image.test.")] {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = server.local_addr().expect("an address").port();
        let kubeconfig = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
             clusters: [{{name: c, cluster: {{server: \"http://{name}:{port}\"}}}}], users: [{{name: u, user: {{token: t}}}}]}}"
        );
        std::fs::write(image.path().join("kubeconfig"), kubeconfig).expect("writable");
        let request = thread::spawn(move || {
            let (mut connection, _) = server.accept().expect("a connection");
            let mut bytes = [0; 4096];
            let length = connection.read(&mut bytes).expect("a request");
            let refusal = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            connection.write_all(refusal.as_bytes()).expect("an answer");
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        });
        let output = run_inside(image.path(), &["leases", "--kubeconfig=/kubeconfig"]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(request.is_finished(), "nobody connected to {name} (asked for as {asked}): {errors}");
        let request = request.join().expect("a request");
        assert!(request.contains(&format!("host: {name}:{port}")), "{request}");
    }
}

/// Answers every question about an address with 127.0.0.1, but only for names below `svc.image.test`.
fn answer_names(socket: &UdpSocket) {
    const SUFFIX: &[u8] = b"\x03svc\x05image\x04test\x00";
    const ADDRESS: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1];
    let mut bytes = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        let question_end =
            bytes[12..length].iter().position(|byte| *byte == 0).map_or(length, |at| 12 + at + 5);
        let mut answer = bytes[..question_end.min(length)].to_vec();
        let known = answer[12..].windows(SUFFIX.len()).any(|part| part == SUFFIX);
        let is_address = answer.get(question_end - 4..question_end) == Some([0, 1, 0, 1].as_slice());
        let found = known && is_address;
        // A response, recursion available; no such name unless it is ours. One question, no more records.
        answer[2] = 0x81;
        answer[3] = if known { 0x80 } else { 0x83 };
        answer[4..12].copy_from_slice(&[0, 1, 0, u8::from(found), 0, 0, 0, 0]);
        if found {
            answer.extend_from_slice(ADDRESS);
        }
        if socket.send_to(&answer, from).is_err() {
            return;
        }
    }
}
