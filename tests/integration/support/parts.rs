// SPDX-License-Identifier: Apache-2.0
//! How the parts of a control plane are started: files, flags, order.

use std::path::Path;

use anyhow::{Result, ensure};
use k8s_openapi::ByteString;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};

use super::{
    control_plane::{ADMIN_TOKEN, Options, START},
    ports::free_port,
    process::Process,
    tools::{program, repository},
    wait::within_deadline,
};

/// Token file and signing keys. The API server makes its own certificate.
pub(super) fn write_files(dir: &Path) -> Result<()> {
    std::fs::write(dir.join("tokens.csv"), format!("{ADMIN_TOKEN},admin,admin,system:masters\n"))?;
    let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let secret = EcdsaKeyPair::generate_pkcs8(kind, &random).map_err(anyhow::Error::msg)?;
    let pair = EcdsaKeyPair::from_pkcs8(kind, secret.as_ref(), &random).map_err(anyhow::Error::msg)?;
    let public: Vec<u8> = P256_KEY.iter().chain(pair.public_key().as_ref()).copied().collect();
    std::fs::write(dir.join("sa.key"), pem("PRIVATE KEY", secret.as_ref())?)?;
    std::fs::write(dir.join("sa.pub"), pem("PUBLIC KEY", &public)?)?;
    Ok(())
}

/// What stands before the point of a P-256 key in a `SubjectPublicKeyInfo`.
const P256_KEY: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// DER as PEM.
pub(super) fn pem(label: &str, der: &[u8]) -> Result<String> {
    let base64 = serde_json::to_value(ByteString(der.to_vec()))?;
    let base64 = base64.as_str().unwrap_or_default();
    Ok(format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n"))
}

/// Starts etcd and waits until it serves.
pub(super) async fn start_etcd(dir: &Path, port: u16) -> Result<Process> {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{}", free_port());
    let args = [
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=error".to_owned(),
    ];
    let etcd = Process::spawn(&program("etcd"), args, &[], &dir.join("etcd.log"))?;
    let up = within_deadline(START, async || {
        match (tokio::net::TcpStream::connect(("127.0.0.1", port)).await, etcd.exit_status()) {
            (Ok(_), _) => Ok(true),
            (_, Some(_)) => Ok(false),
            (Err(error), None) => Err(error.to_string()),
        }
    })
    .await;
    ensure!(up == Ok(true), "etcd does not serve: {up:?}:\n{}", etcd.last_lines(15));
    Ok(etcd)
}

/// Starts the API server; does not wait for it.
pub(super) fn start_apiserver(dir: &Path, options: &Options, etcd_port: u16, port: u16) -> Result<Process> {
    let path = |name: &str| dir.join(name).display().to_string();
    let mut args = vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--cert-dir={}", path("certs")),
        format!("--service-account-key-file={}", path("sa.pub")),
        format!("--service-account-signing-key-file={}", path("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--token-auth-file={}", path("tokens.csv")),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--enable-aggregator-routing=true".to_owned(),
        "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
        format!("--audit-policy-file={}", repository().join("dev/audit-policy.yaml").display()),
        format!("--audit-log-path={}", path("audit.log")),
        // One file, whatever its size: a reader keeps its place in it.
        "--audit-log-maxsize=100000".to_owned(),
    ];
    args.extend(options.apiserver_args.iter().cloned());
    Process::spawn(&program("kube-apiserver"), args, &[], &dir.join("kube-apiserver.log"))
}

/// Starts what `options` ask for beside etcd and the API server, with the administrator's kubeconfig.
pub(super) fn start_others(dir: &Path, options: &Options, kubeconfig: &Path) -> Result<Vec<Process>> {
    let show = |path: &Path| path.display().to_string();
    let common = |name: &str| {
        vec![
            format!("--kubeconfig={}", show(kubeconfig)),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", free_port()),
            format!("--cert-dir={}", show(&dir.join(format!("{name}-certs")))),
        ]
    };
    let mut others = Vec::new();
    if options.controller_manager {
        let mut args = common("kube-controller-manager");
        args.push(format!("--service-account-private-key-file={}", show(&dir.join("sa.key"))));
        args.push(
            "--controllers=*,-nodelifecycle,-nodeipam,-cloud-node-lifecycle,-persistentvolume-binder,\
                 -attachdetach,-ttl"
                .to_owned(),
        );
        // Autoscalers are looked at each second and follow at once, so that tests need not wait.
        args.push("--horizontal-pod-autoscaler-sync-period=1s".to_owned());
        args.push("--horizontal-pod-autoscaler-cpu-initialization-period=0s".to_owned());
        args.push("--horizontal-pod-autoscaler-initial-readiness-delay=0s".to_owned());
        others.push(("kube-controller-manager", args));
    }
    if options.scheduler {
        others.push(("kube-scheduler", common("kube-scheduler")));
    }
    if options.kwok {
        let args = vec![
            format!("--kubeconfig={}", show(kubeconfig)),
            format!("--config={}", show(&repository().join("dev/kwok-stages.yaml"))),
            "--manage-all-nodes".to_owned(),
            "--cidr=10.244.0.0/16".to_owned(),
            "--node-ip=127.0.0.1".to_owned(),
            format!("--server-address=127.0.0.1:{}", free_port()),
        ];
        others.push(("kwok", args));
    }
    let start =
        |(name, args): (&str, _)| Process::spawn(&program(name), args, &[], &dir.join(format!("{name}.log")));
    others.into_iter().map(start).collect()
}
