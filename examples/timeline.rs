// SPDX-License-Identifier: Apache-2.0
//! `make timeline`: a picture of hand-overs, drawn from the API server's audit log into the SVG file that the
//! argument names. Three managers contend for one Lease; its holder is terminated, then killed, then frozen.
#![allow(
    clippy::print_stderr,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program for people"
)]

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use kube_fenced_election::clock::Timestamp;
use plotters::prelude::*;
use support::{
    ControlPlane, Options,
    audit::Entry,
    holders::{holders, wait_all_held},
    install::NAMESPACE,
    leases::{self, Change},
    manager::Manager,
    probes::{allow_probes, default_lease},
    wait::now,
};

#[path = "../tests/integration/support/mod.rs"]
mod support;

const CONTROLLER: &str = "kv-cache-controller";
const ARGS: [&str; 4] = [
    "--probe-loops",
    "--disable-webhook",
    "--controllers=kv-cache-controller",
    "--leader-election-spread=false",
];
const SOON: Duration = Duration::from_secs(30);
/// The audit log's times are the machine's own.
const CALM: Duration = Duration::from_secs(9);
/// For longer than the default lease duration.
const FREEZE: Duration = Duration::from_secs(24);

/// What the picture shows.
struct Scene {
    from: Timestamp,
    /// Pod names, in the order of their lanes.
    lanes: Vec<String>,
    changes: Vec<Change>,
    writes: Vec<Entry>,
    /// Moments with their captions.
    marks: Vec<(Timestamp, String)>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let file = std::env::args().nth(1).map(PathBuf::from).context("usage: timeline FILE.svg")?;
    let scene = play().await?;
    draw(&scene, &file)?;
    eprintln!("timeline: {}", file.display());
    Ok(())
}

async fn play() -> Result<Scene> {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_manager().await;
    allow_probes(&plane).await;
    let client = plane.client().await;
    let lease = default_lease(CONTROLLER);
    let mut managers: Vec<Manager> = Vec::new();
    for _ in 0..3 {
        managers.push(Manager::start(&plane, &ARGS).await);
    }
    for manager in &managers {
        manager.wait_ready().await;
    }
    let all = || managers.iter().collect::<Vec<_>>();
    wait_all_held(&client, NAMESPACE, SOON, &[&lease], &all()).await;
    let from = now();
    let mut marks = Vec::new();
    for blow in ["SIGTERM", "SIGKILL", "SIGSTOP"] {
        tokio::time::sleep(CALM).await;
        let held = holders(&client, NAMESPACE).await?;
        let holder = held.get(&lease).cloned().unwrap_or_default();
        let leader = managers.iter().find(|it| it.is(&holder)).context("somebody leads")?;
        marks.push((now(), blow.to_owned()));
        match blow {
            "SIGTERM" => leader.sigterm(),
            "SIGKILL" => leader.sigkill(),
            _ => leader.sigstop(),
        }
        if blow == "SIGSTOP" {
            tokio::time::sleep(FREEZE).await;
            marks.push((now(), "SIGCONT".to_owned()));
            leader.sigcont();
            break;
        }
        let others: Vec<&Manager> = managers.iter().filter(|it| !it.is(&holder)).collect();
        let others: Vec<&Manager> = others.into_iter().filter(|it| it.exit_status().is_none()).collect();
        wait_all_held(&client, NAMESPACE, SOON, &[&lease], &others).await;
        // Another in its place, as a Deployment makes one.
        managers.push(Manager::start(&plane, &ARGS).await);
    }
    tokio::time::sleep(CALM).await;
    let mut log = plane.audit();
    let entries = log.entries();
    let history = leases::history(entries);
    let changes = history.into_iter().find(|((_, name), _)| *name == lease).map(|(_, changes)| changes);
    let writes =
        entries.iter().filter(|it| it.is_by(CONTROLLER) && it.is_write() && it.is_ok() && !it.is_lease());
    Ok(Scene {
        from,
        lanes: managers.iter().map(|it| it.pod_name().to_owned()).collect(),
        changes: changes.context("the Lease has a history")?,
        writes: writes.cloned().collect(),
        marks,
    })
}

impl Scene {
    fn seconds(&self, at: Timestamp) -> f64 {
        at.duration_since(self.from).as_secs_f64()
    }

    fn lane(&self, identity: &str) -> Option<f64> {
        let lane = self
            .lanes
            .iter()
            .position(|pod| identity.strip_prefix(pod.as_str()).is_some_and(|it| it.starts_with('_')));
        lane.and_then(|lane| u32::try_from(lane).ok()).map(f64::from)
    }
}

fn draw(scene: &Scene, file: &std::path::Path) -> Result<()> {
    let last = scene.changes.iter().map(|it| it.finished).max().context("no change")?;
    let (until, lanes) = (scene.seconds(last) + 1.0, f64::from(u32::try_from(scene.lanes.len())?));
    let area = SVGBackend::new(file, (1200, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "One Lease, three replicas: who held it, and who wrote (from the audit log)",
            ("sans-serif", 20),
        )
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(110)
        .build_cartesian_2d(-1.0..until, -0.9..lanes + 0.1)?;
    let pods = scene.lanes.clone();
    let name = |lane: &f64| {
        let whole = lane.round();
        let pod = pods
            .iter()
            .enumerate()
            .find(|(n, _)| u32::try_from(*n).is_ok_and(|n| (f64::from(n) - whole).abs() < 0.01));
        if (lane - whole).abs() < 0.01 {
            pod.map(|(_, pod)| pod.clone()).unwrap_or_default()
        } else {
            String::new()
        }
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .x_desc("seconds")
        .x_labels(16)
        .max_light_lines(0)
        .x_label_formatter(&|at| format!("{at:.0}"))
        .y_labels(scene.lanes.len() + 1)
        .y_label_formatter(&name)
        .draw()?;
    for term in leases::holdings(&scene.changes) {
        let Some(lane) = scene.lane(&term.identity) else { continue };
        let span = (scene.seconds(term.from).max(-1.0), scene.seconds(term.until).min(until));
        let bar =
            Rectangle::new([(span.0, lane - 0.16), (span.1, lane + 0.16)], RGBColor(158, 202, 225).filled());
        chart.draw_series([bar])?;
    }
    let own = scene.changes.iter().filter(|it| it.writer.as_ref() == Some(&it.holder));
    let renewals = own.filter_map(|it| Some((scene.seconds(it.received), scene.lane(&it.holder)?)));
    chart.draw_series(renewals.filter(|it| it.0 >= -1.0).map(|(at, lane)| {
        PathElement::new([(at, lane - 0.16), (at, lane + 0.16)], RGBColor(8, 81, 156).stroke_width(2))
    }))?;
    let writes = scene.writes.iter().filter_map(|it| {
        let lane = scene.lane(&it.caller.as_ref()?.identity)?;
        Some((scene.seconds(it.received), lane))
    });
    let dots =
        writes.filter(|it| it.0 >= -1.0).map(|(at, lane)| Circle::new((at, lane + 0.26), 1, BLACK.filled()));
    chart.draw_series(dots)?;
    for (at, caption) in &scene.marks {
        let at = scene.seconds(*at);
        let line = PathElement::new([(at, -0.35), (at, lanes - 0.2)], RED.stroke_width(1));
        chart.draw_series([line])?;
        chart.draw_series([Text::new(
            caption.clone(),
            (at + 0.3, lanes - 0.08),
            ("sans-serif", 14).into_font().color(&RED),
        )])?;
    }
    let note = "bar: holds the Lease until it is released or runs out; stroke: renewal; dot: a write of the controller";
    chart.draw_series([Text::new(note, (0.0, -0.6), ("sans-serif", 13).into_font())])?;
    area.present()?;
    Ok(())
}
