//! The scene by itself: that its parts are real, and that it cleans up.

use anyhow::Result;
use nix::sys::signal::Signal;
use scene::scene::{Outcome, Parts, Scene, installed_modules};
use scene::script::{Attack, BENIGN};

fn open(folder: &tempfile::TempDir) -> Result<Scene> {
    Scene::prepare(Parts::lay_out(folder.path(), &installed_modules()?)?)?.open()
}

#[test]
fn the_model_is_talked_into_an_attack_by_prompt_and_by_tool_result() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let scene = open(&folder)?;
    let Outcome::Answered(direct) = scene.ask(&Attack::Url.prompt())? else {
        panic!("the agent died")
    };
    assert_eq!(
        direct.calls.len(),
        1,
        "the summary was no reason to call a tool"
    );
    scene.world.poison_weather(Some(Attack::Datagram.phrase()));
    let Outcome::Answered(indirect) = scene.ask(BENIGN[0].1)? else {
        panic!("the agent died")
    };
    let tools: Vec<_> = indirect
        .calls
        .iter()
        .map(|call| call.tool.as_str())
        .collect();
    assert_eq!(tools, ["http_get", "send_report"]);
    assert!(
        scene
            .world
            .attacker
            .evidence()?
            .contains(&scene.script.loot)
    );
    assert!(
        scene
            .world
            .attacker_udp
            .evidence()?
            .contains(&scene.script.loot)
    );
    Ok(())
}

#[test]
fn an_agent_that_is_killed_is_started_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let scene = open(&folder)?;
    let first = scene.agent.pid()?;
    scene.agent.signal(Signal::SIGKILL)?;
    scene.agent.ending(0)?;
    assert_ne!(scene.agent.pid()?, first);
    assert!(matches!(scene.ask(BENIGN[2].1)?, Outcome::Answered(_)));
    Ok(())
}

#[test]
fn what_a_scene_started_ends_with_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let scene = open(&folder)?;
    let pids = [scene.agent.pid()?, scene.server.pid()?];
    drop(scene);
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
    Ok(())
}
