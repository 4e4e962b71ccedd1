// SPDX-License-Identifier: Apache-2.0
//! A real control plane on this machine, and what tests do with it.
//!
//! | Module | Holds |
//! |---|---|
//! | [`control_plane`] | etcd, kube-apiserver and, where asked for, kube-controller-manager, kube-scheduler and kwok |
//! | [`install`] | namespace, CRDs, roles and Deployment of the manager, as shipped |
//! | [`manager`] | the manager's binary as a process of its own, with a `ServiceAccount` |
//! | [`usage`] | what a process uses: memory and processor time |
//! | [`holders`] | who holds which Lease now |
//! | [`audit`], [`leases`] | the API server's audit log; who held which Lease, and who wrote without it |
//! | [`preconditions`] | who asked for a change that would undo what was written since |
//! | [`takes`] | who took a Lease before the term of its holder had ended |
//! | [`older`] | whether an older manager and our controllers worked side by side |
//! | [`write_gaps`] | how long a Lease went without a leader, and who held it at a moment |
//! | [`doubles`], [`engines`] | what was made twice; which engines were asked by a deposed leader |
//! | [`doctored`] | doctored audit logs, on which the oracle and the judge of campaigns are tried |
//! | [`history`] | every version of an object that was stored, from a watch |
//! | [`contender`] | client-go's leaderelection as a process |
//! | [`kubelet`] | the test plays kubelet where kwok does not |
//! | [`proxy`] | chosen requests delayed, hung, refused or held back on their way to the API server |
//! | [`stalling_proxy`] | one chosen connection to the API server held up for a time, while the others pass |
//! | [`network`] | a network of its own for a manager, whose cable can be pulled |
//! | [`wall_clock`] | another wall clock for a manager |
//! | [`toxiproxy`] | slow, cut and reset connections to the API server |
//! | [`authority`], [`reviews`] | a CA for webhooks whose certificates the test makes; asking a webhook as the API server does |
//! | [`passes`] | passes of loops: what shows that an object was looked at again |
//! | [`probes`] | the seven controllers, their Leases, and the loops that stand in for some |
//! | [`objects`] | builders of Kubernetes objects as JSON |
//! | [`wait`] | waiting with a deadline that says what was seen last |
//!
//! Everything needs the network of `dev/sandbox.sh`, in which 10.244.0.0/16 is this machine: `make test`
//! runs the tests there. A test of a manager with all controllers has a control plane of its own:
//!
//! ```ignore
//! let plane = ControlPlane::start(Options::bare()).await; // or Options::full(), with kwok and the rest
//! plane.install_manager().await;
//! let manager = Manager::start(&plane, &["--disable-webhook"]).await;
//! manager.wait_ready().await;
//! let held = wait_all_held(&plane.client().await, NAMESPACE, SOON, &["aibrix-kv-cache-controller"], &[&manager]).await;
//! who_wrote_without_lease(plane.audit().entries()).assert_clean();
//! ```
//!
//! Tests that only need an API server share one ([`shared`]), each in a namespace of its own. The examples
//! `cluster`, `demo` and `bench` include the same code.
#![allow(dead_code, unused_imports, reason = "a library for tests and examples: none of them uses all of it")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code, which clippy recognises only inside of test functions"
)]

pub(crate) mod audit;
pub(crate) mod authority;
pub(crate) mod contender;
pub(crate) mod control_plane;
pub(crate) mod doctored;
pub(crate) mod doubles;
pub(crate) mod engines;
pub(crate) mod history;
pub(crate) mod holders;
pub(crate) mod http;
pub(crate) mod install;
pub(crate) mod kubeconfig;
pub(crate) mod kubelet;
pub(crate) mod leases;
pub(crate) mod manager;
pub(crate) mod network;
pub(crate) mod objects;
pub(crate) mod older;
mod parts;
pub(crate) mod passes;
pub(crate) mod ports;
pub(crate) mod preconditions;
pub(crate) mod probes;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod reviews;
pub(crate) mod stalling_proxy;
pub(crate) mod takes;
pub(crate) mod tools;
pub(crate) mod toxiproxy;
pub(crate) mod usage;
pub(crate) mod wait;
pub(crate) mod wall_clock;
pub(crate) mod write_gaps;

pub(crate) use control_plane::{ControlPlane, Options, shared};
pub(crate) use wait::eventually;
