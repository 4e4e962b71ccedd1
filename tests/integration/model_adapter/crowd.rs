// SPDX-License-Identifier: Apache-2.0
//! Many adapters of engines that are dead: they wait, nobody else does.

use std::time::Duration;

use aibrix_controller_manager::testkit::fake_engine::LoraEngine;

use crate::support::wait::instant;

use super::{
    scene::{Call, Scene, counts, said},
    world::{ALONE, SOON, World},
};

/// Adapters of the dead engines.
const MANY: usize = 300;

/// The longest time until an adapter runs on the pod of `scene`.
async fn longest(scene: &Scene, names: [&str; 3]) -> Duration {
    let mut longest = Duration::ZERO;
    for name in names {
        let from = instant();
        scene.run(&scene.adapter(name), &["web-0"]).await;
        longest = longest.max(from.elapsed());
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapters_of_dead_engines_delay_nobody() {
    let world = World::with(&ALONE).await;
    let quiet = Scene::new(&world.plane, "alive").await;
    quiet.pod("web-0").await;
    let before = longest(&quiet, ["u", "v", "w"]).await;
    let dead = Scene::new(&world.plane, "dead").await;
    let roomy = LoraEngine { max_loras: 2 * MANY, ..LoraEngine::default() };
    let hanging = dead.pod_like("web-0", roomy.clone()).await;
    let refusing = dead.pod_like("web-1", roomy).await;
    for call in [Call::Models, Call::Load, Call::Unload] {
        dead.silence(hanging, call);
    }
    dead.stop(refusing).await;
    for n in 0..MANY {
        dead.create(&dead.adapter(&format!("a-{n}"))).await;
    }
    // They say what is wrong, all of them.
    for n in [0, MANY / 2, MANY - 1] {
        let it = dead.adapter(&format!("a-{n}"));
        let seen = dead.until_said(&it, "Ready", "False/ModelAdapterLoadingError", 3 * SOON).await;
        assert_eq!(counts(&seen), (2, 2, 0));
    }
    let meanwhile = longest(&quiet, ["x", "y", "z"]).await;
    assert!(meanwhile < before + Duration::from_secs(4), "{before:?} before, {meanwhile:?} meanwhile");
    // Deletion of one is bounded, whatever the others wait for.
    let one = dead.adapter("a-1");
    let from = instant();
    dead.delete(&one).await;
    dead.until_gone(&one, Duration::from_secs(40)).await;
    assert!(from.elapsed() < Duration::from_secs(35), "it took {:?}", from.elapsed());
    // The engines come back, and everybody is served without a restart.
    dead.accept(hanging);
    dead.serve(refusing).await;
    for n in [0, 2, MANY - 1] {
        let it = dead.adapter(&format!("a-{n}"));
        dead.until_on(&it, &["web-0", "web-1"], Duration::from_mins(6)).await;
    }
    let alive = quiet.get(&quiet.adapter("x")).await.expect("it is there");
    assert_eq!(said(&alive, "Ready"), "True/ModelAdapterAvailable");
}
