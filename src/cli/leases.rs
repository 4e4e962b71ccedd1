// SPDX-License-Identifier: Apache-2.0
//! The sub-command `leases`: reads who holds what. Only reads.

use clap::{Arg, Command, builder::PossibleValuesParser};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use kube::{Api, api::ListParams};
use uuid::Uuid;

use super::{
    EarlyExit, PROGRAM, VERSION, election_settings,
    invocation::parse_subcommand,
    leases_table::{self, Row},
    settings::Env,
};
use kube_loops::{
    cluster::client::{ClientSettings, Clients, ConfigError},
    metrics::{Metrics, MetricsError},
};

/// Objects in one answer of the API server.
const PAGE: u32 = 500;

/// Options of the sub-command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Namespace to look at; `None`: the one that the manager would use.
    pub namespace: Option<String>,
    /// Shape of the answer.
    pub format: Format,
    /// This kubeconfig and nothing else.
    pub kubeconfig: Option<String>,
}

/// Shape of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns, as kubectl prints them.
    Table,
    /// A JSON array with an object per row.
    Json,
}

impl Format {
    /// The rows as text that ends with a newline.
    pub fn render(self, rows: &[Row]) -> String {
        match self {
            Self::Table => leases_table::table(rows),
            Self::Json => leases_table::json(rows),
        }
    }
}

/// Why Leases cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeasesError {
    /// No client.
    #[error("could not connect")]
    Connect(#[from] ConfigError),
    /// Clients count their requests, and here they cannot: a defect of ours.
    #[error("could not count requests")]
    Count(#[from] MetricsError),
    /// The Leases could not be read.
    #[error("could not list leases in namespace {namespace}")]
    ListLeases {
        /// Where.
        namespace: String,
        /// What the API server says.
        #[source]
        source: Box<kube::Error>,
    },
    /// The Deployments could not be read.
    #[error("could not list deployments in namespace {namespace}")]
    ListDeployments {
        /// Where.
        namespace: String,
        /// What the API server says.
        #[source]
        source: Box<kube::Error>,
    },
}

impl Options {
    /// Parses what stands behind `leases`.
    ///
    /// # Errors
    /// Help, or a message with exit code 2.
    pub fn parse(arguments: &[String]) -> Result<Self, EarlyExit> {
        let command =
            Command::new("leases")
                .bin_name(format!("{PROGRAM} leases"))
                .about("Shows who holds which Lease, and what is wrong with them.")
                .arg(Arg::new("namespace").short('n').long("namespace").value_name("NAMESPACE").help(
                    "Namespace of the Leases and Deployments [default: the pod's own, else aibrix-system]",
                ))
                .arg(
                    Arg::new("output")
                        .short('o')
                        .long("output")
                        .value_name("FORMAT")
                        .value_parser(PossibleValuesParser::new(["table", "json"]))
                        .default_value("table")
                        .help("Shape of the answer"),
                )
                .arg(
                    Arg::new("kubeconfig")
                        .long("kubeconfig")
                        .value_name("FILE")
                        .help("Kubeconfig to use, and nothing else"),
                );
        let matches = parse_subcommand(command, "leases", arguments)?;
        let text = |name| matches.get_one::<String>(name).cloned();
        let format = if text("output").as_deref() == Some("json") { Format::Json } else { Format::Table };
        Ok(Self { namespace: text("namespace"), format, kubeconfig: text("kubeconfig") })
    }

    /// The namespace to look at.
    pub fn namespace(&self, env: &Env) -> String {
        let given = self.namespace.as_deref().unwrap_or_default();
        election_settings::choose_namespace(given, env.pod_namespace.as_deref())
    }

    /// How to reach the API server. Nothing limits the two requests of this command.
    pub fn client_settings(&self, env: &Env) -> ClientSettings {
        ClientSettings {
            kubeconfig_flag: self.kubeconfig.as_ref().map(Into::into),
            kubeconfig_env: env.var("KUBECONFIG"),
            home: env.var("HOME").map(Into::into),
            qps: -1.0,
            burst: 1,
            program: format!("{PROGRAM}/{VERSION}"),
            identity: election_settings::identity("leases", Uuid::nil()),
        }
    }
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Every Lease of the namespace.
    pub leases: Vec<Lease>,
    /// Every Deployment of the namespace.
    pub deployments: Vec<Deployment>,
}

impl Seen {
    /// What there is to show.
    pub(crate) fn rows(&self, now: Timestamp) -> Vec<Row> {
        leases_table::rows(&self.leases, &self.deployments, now)
    }
}

/// Reads the Leases and Deployments of a namespace.
///
/// # Errors
/// No client could be made, or one of the two lists failed.
pub(crate) async fn read(settings: &ClientSettings, namespace: &str) -> Result<Seen, LeasesError> {
    let labels = ["code", "method", "host"];
    let requests =
        Metrics::new().int_counter("rest_client_requests_total", "Requests of this command.", &labels)?;
    let client = Clients::new(settings, &requests, None).await?.reader();
    let leases = list(Api::namespaced(client.clone(), namespace)).await;
    let leases = leases.map_err(|source| LeasesError::ListLeases {
        namespace: namespace.to_owned(),
        source: Box::new(source),
    })?;
    let deployments = list(Api::namespaced(client, namespace)).await;
    let deployments = deployments.map_err(|source| LeasesError::ListDeployments {
        namespace: namespace.to_owned(),
        source: Box::new(source),
    })?;
    Ok(Seen { leases, deployments })
}

async fn list<K>(api: Api<K>) -> Result<Vec<K>, kube::Error>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let part = api.list(&page).await?;
        found.extend(part.items);
        match part.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}
