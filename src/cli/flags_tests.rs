// SPDX-License-Identifier: Apache-2.0
use super::{
    flags::{self, ALL},
    go_flags::{FlagValue as _, ValueError},
    klog_flags::{Level, Location, Severity, Vmodule},
};

/// Name, type and default of every flag, from the specification.
const TABLE: &[(&str, &str, &str)] = &[
    ("controllers", "string", "*"),
    ("leader-elect", "", "true"),
    ("leader-election-namespace", "string", ""),
    ("leader-election-id", "string", ""),
    ("leader-election-lease-duration", "duration", "15s"),
    ("leader-election-renew-deadline", "duration", "10s"),
    ("leader-election-retry-period", "duration", "2s"),
    ("leader-election-release-on-cancel", "", "true"),
    ("leader-election-resource-lock", "string", "leases"),
    ("leader-election-spread", "", "true"),
    ("leader-election-warm-standby", "", "true"),
    ("legacy-leader-election-id", "string", "aibrix-controller-manager"),
    ("metrics-bind-address", "string", ":8080"),
    ("metrics-secure", "", "false"),
    ("health-probe-bind-address", "string", ":8081"),
    ("enable-http2", "", "false"),
    ("kube-api-qps", "float", "100"),
    ("kube-api-burst", "int", "100"),
    ("kubeconfig", "string", ""),
    ("model-adapter-scheduler-policy", "string", "leastAdapters"),
    ("enable-runtime-sidecar", "", "false"),
    ("debug-mode", "", "false"),
    ("disable-webhook", "", "false"),
    ("max-concurrent-reconciles", "string", ""),
    ("graceful-shutdown-timeout", "duration", "8s"),
    ("metric-scrape-timeout", "duration", "8s"),
    ("watch-namespaces", "string", ""),
    ("webhook-host", "string", ""),
    ("webhook-port", "int", "9443"),
    ("webhook-cert-dir", "string", "/tmp/k8s-webhook-server/serving-certs"),
    ("manage-webhook-certs", "", "true"),
    ("webhook-secret-name", "string", "aibrix-webhook-server-cert"),
    ("webhook-service-name", "string", "aibrix-webhook-service"),
    ("mutating-webhook-configuration-name", "string", "aibrix-mutating-webhook-configuration"),
    ("validating-webhook-configuration-name", "string", "aibrix-validating-webhook-configuration"),
    ("log-format", "string", "text"),
    ("v", "int", "0"),
    ("vmodule", "pattern=N,...", ""),
    ("logtostderr", "", "true"),
    ("alsologtostderr", "", "false"),
    ("stderrthreshold", "severity", "2"),
    ("log_dir", "string", ""),
    ("log_file", "string", ""),
    ("log_file_max_size", "uint", "1800"),
    ("log_backtrace_at", "file:N", ""),
    ("add_dir_header", "", "false"),
    ("skip_headers", "", "false"),
    ("skip_log_headers", "", "false"),
    ("one_output", "", "false"),
];

#[test]
fn flags_have_the_names_types_and_defaults_that_users_know() {
    for (name, kind, default) in TABLE {
        let flag = ALL.iter().find(|flag| flag.name() == *name).unwrap_or_else(|| panic!("no flag {name}"));
        assert_eq!((flag.type_name(), flag.default_text()), (*kind, *default), "{name}");
        assert_eq!(flag.is_bool(), kind.is_empty(), "{name}");
    }
    let shown: Vec<_> = ALL.iter().filter(|flag| !flag.usage().is_empty()).collect();
    assert_eq!(shown.len(), TABLE.len(), "a flag is missing in the table of this test");
}

#[test]
fn every_default_is_a_value_of_its_flag() {
    for flag in ALL {
        assert_eq!(flag.check(flag.default_text()), Ok(()), "{}", flag.name());
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = ALL.iter().map(|flag| flag.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ALL.len());
}

#[test]
fn only_what_is_for_tests_is_hidden() {
    let hidden: Vec<_> = ALL.iter().filter(|flag| flag.usage().is_empty()).map(|flag| flag.name()).collect();
    assert_eq!(hidden, [flags::PROBE_LOOPS.name, flags::SYNC_PERIOD.name]);
}

#[test]
fn verbosity_has_32_bits() {
    assert_eq!(Level::parse("4"), Ok(Level(4)));
    assert_eq!(Level::parse("-1"), Ok(Level(-1)));
    assert_eq!(Level::parse("2147483648"), Err(ValueError::Range));
    assert_eq!(Level::parse("high"), Err(ValueError::Parse));
}

#[test]
fn verbosity_by_file_is_a_list_of_pairs() {
    for good in ["", "a=1", "a=1,b*=2", "a=1,,b=0"] {
        assert_eq!(Vmodule::parse(good), Ok(Vmodule(good.to_owned())), "{good}");
    }
    for bad in ["a", "=1", "a=", "a=x", "a=1,b"] {
        assert_eq!(Vmodule::parse(bad), Err(ValueError::Vmodule), "{bad}");
    }
    assert_eq!(Vmodule::parse("a=-1"), Err(ValueError::NegativeLevel));
}

#[test]
fn severity_is_a_name_or_a_number() {
    for (text, want) in [("INFO", 0), ("warning", 1), ("Error", 2), ("FATAL", 3), ("1", 1)] {
        assert_eq!(Severity::parse(text), Ok(Severity(want)), "{text}");
    }
    assert_eq!(Severity::parse("loud"), Err(ValueError::Parse));
}

#[test]
fn place_of_a_stack_trace_is_a_file_and_a_line() {
    for good in ["", "main.go:234"] {
        assert_eq!(Location::parse(good), Ok(Location(good.to_owned())), "{good}");
    }
    for bad in ["main.go", "main:1", "main.go:0", "main.go:x"] {
        assert_eq!(Location::parse(bad), Err(ValueError::Location), "{bad}");
    }
}
