// SPDX-License-Identifier: Apache-2.0
//! The environment variables that AIBrix reads, pure: from a lookup to the settings of the consumers.

use std::time::Duration;

use super::{
    consumers::{EngineMetricsSettings, PrometheusLogin, PrometheusSettings, REFRESH_INTERVAL},
    notice::StartupNotice,
    settings::Env,
};
use crate::controllers::model_route::ModelRouteSettings;

/// Variables that AIBrix's manager and gateway share, and that only the gateway uses.
const OF_THE_GATEWAY: [&str; 2] = ["AIBRIX_POD_DEPLOYMENT_LABEL", "AIBRIX_POD_RAYCLUSTERFLEET_LABEL"];

/// Reads the variables and collects warnings about them.
pub(crate) struct EnvVars<'a> {
    env: &'a Env,
    /// What to log.
    pub notices: Vec<StartupNotice>,
}

impl<'a> EnvVars<'a> {
    /// Reads from this environment.
    pub(crate) fn new(env: &'a Env) -> Self {
        Self { env, notices: Vec::new() }
    }

    /// Settings of the model-route controller of an installation with its Leases in the namespace `owner`.
    pub(crate) fn model_route(&mut self, owner: &str) -> ModelRouteSettings {
        ModelRouteSettings {
            request_timeout: Duration::from_secs(self.positive("AIBRIX_GATEWAY_TIMEOUT_SECONDS", 120)),
            gateway_name: self.text("AIBRIX_GATEWAY_NAME", "aibrix-eg"),
            gateway_namespace: self.text("AIBRIX_GATEWAY_NAMESPACE", "aibrix-system"),
            owner: owner.to_owned(),
            ..ModelRouteSettings::default()
        }
    }

    /// Where the policies of the model-adapter controller measure.
    pub(crate) fn engine_metrics(&mut self) -> EngineMetricsSettings {
        for name in OF_THE_GATEWAY {
            self.refuse(name, "pods are not grouped by a label here, only the gateway does that");
        }
        let usual = u64::try_from(REFRESH_INTERVAL.as_millis()).unwrap_or(u64::MAX);
        let refresh = self.positive("AIBRIX_POD_METRIC_REFRESH_INTERVAL_MS", usual);
        let refresh_interval = Duration::from_millis(refresh);
        EngineMetricsSettings { refresh_interval, prometheus: self.prometheus() }
    }

    fn prometheus(&mut self) -> Option<PrometheusSettings> {
        let interval = self.positive("AIBRIX_PROMETHEUS_QUERY_INTERVAL_MS", 200);
        let timeout = self.positive("AIBRIX_PROMETHEUS_QUERY_TIMEOUT_MS", 2000);
        Some(PrometheusSettings {
            endpoint: self.env.var("PROMETHEUS_ENDPOINT")?,
            query_interval: Duration::from_millis(interval),
            query_timeout: Duration::from_millis(timeout),
            login: self.prometheus_login(),
        })
    }

    fn prometheus_login(&self) -> PrometheusLogin {
        let var = |name| self.env.var(name);
        if let Some(name) = var("PROMETHEUS_BASIC_AUTH_SECRET_NAME") {
            return PrometheusLogin::Secret {
                namespace: self.text("PROMETHEUS_BASIC_AUTH_SECRET_NAMESPACE", "aibrix-system"),
                name,
                username_key: self.text("PROMETHEUS_BASIC_AUTH_USERNAME_KEY", "username"),
                password_key: self.text("PROMETHEUS_BASIC_AUTH_PASSWORD_KEY", "password"),
            };
        }
        let (username, password) =
            (var("PROMETHEUS_BASIC_AUTH_USERNAME"), var("PROMETHEUS_BASIC_AUTH_PASSWORD"));
        if username.is_none() && password.is_none() {
            return PrometheusLogin::Anonymous;
        }
        PrometheusLogin::Password {
            username: username.unwrap_or_default(),
            password: password.unwrap_or_default(),
        }
    }

    /// Warns that a variable that is set has no effect.
    fn refuse(&mut self, name: &str, why: &str) {
        if let Some(text) = self.env.var(name) {
            let detail = format!("{name}={text:?}: {why}");
            self.notices.push(StartupNotice::warning("environment variable ignored", detail));
        }
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.env.var(name).unwrap_or_else(|| default.to_owned())
    }

    /// A decimal number above 0; anything else is the default with a warning.
    fn positive(&mut self, name: &str, default: u64) -> u64 {
        let Some(text) = self.env.var(name) else { return default };
        match text.parse::<u32>() {
            Ok(number) if number > 0 => u64::from(number),
            Ok(_) | Err(_) => {
                let detail = format!("{name}={text:?}: a decimal number above 0 is needed, using {default}");
                self.notices.push(StartupNotice::warning("environment variable ignored", detail));
                default
            }
        }
    }
}
