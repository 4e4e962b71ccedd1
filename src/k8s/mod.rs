// SPDX-License-Identifier: Apache-2.0
//! Pure helpers over Kubernetes types that know labels of ours. A helper moves here with its tests when a second
//! loop needs it; what any operator could use stands in `kube_loops::k8s`.

pub(crate) mod member_facts;
pub(crate) mod names;
pub(crate) mod pod_facts;
pub(crate) mod served_model;

#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod pod_facts_tests;
#[cfg(test)]
mod served_model_tests;
