//! The API over a real socket, with a made-up daemon behind it and the commands' own client.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{runtime::Runtime, sync::watch};

use super::*;
use crate::{
    cli::client::{Client, Flow},
    exit::{Exit, Failure},
};

struct Fake {
    events: Feed,
    stored: Vec<String>,
    peers: Mutex<Vec<Peer>>,
    recording: Mutex<Option<mpsc::Sender<Bytes>>>,
}

impl Backend for Fake {
    fn status(&self) -> Result<view::Status, Refusal> {
        Ok(view::Status {
            version: "9".into(),
            drops: 3,
            ..view::Status::default()
        })
    }
    fn workloads(&self) -> Result<Vec<view::Workload>, Refusal> {
        Ok(vec![view::Workload {
            name: "a".into(),
            ..view::Workload::default()
        }])
    }
    fn hooks(&self) -> Result<Vec<view::Hook>, Refusal> {
        Err(Refusal::Failed("the map is gone".into()))
    }
    fn events(&self, query: &Query) -> Result<Answer, Refusal> {
        Ok(self.events.answer(query))
    }
    fn alerts(&self, query: &Query) -> Result<Answer, Refusal> {
        // As the daemon does it: subscribed first, so that a line can be in both.
        let follow = query.follow.then(|| self.events.follow());
        self.events.push(Line {
            workload: "a".into(),
            text: self.stored[0].as_str().into(),
        });
        Ok(Answer {
            lines: self.stored.clone(),
            follow,
        })
    }
    fn baseline(&self, workload: &str) -> Result<Vec<view::BaselineEntry>, Refusal> {
        Err(Refusal::NotFound(format!(
            "there is no workload {workload}"
        )))
    }
    fn search(&self) -> Result<view::Search, Refusal> {
        Ok(view::Search {
            enabled: true,
            ..view::Search::default()
        })
    }
    fn decide(
        &self,
        workload: &str,
        action: &str,
        decide: &view::Decide,
        peer: Peer,
    ) -> Result<view::Decided, Refusal> {
        self.peers.lock().unwrap().push(peer);
        let agent = decide.agent.as_deref().unwrap_or("nobody");
        match action {
            "confirm" => Ok(view::Decided {
                done: format!("{workload} {agent}"),
            }),
            _ => Err(Refusal::NotFound(format!("no action {action}"))),
        }
    }
    fn alert(&self, id: &str) -> Result<slmguard_core::alert::Alert, Refusal> {
        Err(Refusal::NotFound(id.into()))
    }
    fn profile(&self, workload: &str, which: &str) -> Result<view::Profile, Refusal> {
        Ok(view::Profile {
            workload: workload.into(),
            text: which.into(),
            ..view::Profile::default()
        })
    }
    fn evidence(&self, workload: &str) -> Result<view::Standing, Refusal> {
        Ok(view::Standing {
            workload: workload.into(),
            ..view::Standing::default()
        })
    }
    fn declare_step(
        &self,
        workload: &str,
        step: &str,
        _: &str,
        peer: Peer,
    ) -> Result<view::Decided, Refusal> {
        self.peers.lock().unwrap().push(peer);
        Ok(view::Decided {
            done: format!("{step} {workload}"),
        })
    }
    fn order_baseline(
        &self,
        workload: &str,
        action: &str,
        order: &view::BaselineOrder,
        peer: Peer,
    ) -> Result<view::Decided, Refusal> {
        self.peers.lock().unwrap().push(peer);
        Ok(view::Decided {
            done: format!("{action} {workload} {}", order.reason),
        })
    }
    fn mode(&self, workload: &str) -> Result<view::Mode, Refusal> {
        Ok(view::Mode {
            workload: workload.into(),
            ..view::Mode::default()
        })
    }
    fn record(
        &self,
        order: &view::RecordingOrder,
        peer: Peer,
    ) -> Result<mpsc::Receiver<Bytes>, Refusal> {
        self.peers.lock().unwrap().push(peer);
        if order.note == "busy" {
            return Err(Refusal::Conflict("end it first".into()));
        }
        let (sender, receiver) = mpsc::channel(8);
        sender.try_send("a line\n".into()).unwrap();
        *self.recording.lock().unwrap() = Some(sender);
        Ok(receiver)
    }
    fn end_recording(&self, reason: &str, _: Peer) -> Result<(), Refusal> {
        let sender = self.recording.lock().unwrap().take();
        if let Some(sender) = sender {
            let _ = sender.try_send(format!("because {reason}\n").into());
        }
        Ok(())
    }
    fn launch_plan(&self, workload: &str, role: &str) -> Result<view::LaunchPlan, Refusal> {
        Ok(view::LaunchPlan {
            workload: workload.into(),
            role: role.into(),
            learned: vec![("read".into(), "/a".into())],
            ..view::LaunchPlan::default()
        })
    }
    fn launch(&self, _: &str, role: &str, peer: Peer) -> Result<view::Launched, Refusal> {
        match role {
            "server" => Ok(view::Launched {
                pid: peer.pid,
                member: false,
            }),
            _ => Err(Refusal::Forbidden("a member never gains".into())),
        }
    }
    fn set_mode(
        &self,
        workload: &str,
        change: &view::ModeChange,
        peer: Peer,
    ) -> Result<view::Mode, Refusal> {
        self.peers.lock().unwrap().push(peer);
        match change.mode.as_str() {
            "enforce" => Err(Refusal::Conflict("declare first".into())),
            "monitor" => Err(Refusal::Forbidden("not you".into())),
            mode => Ok(view::Mode {
                workload: workload.into(),
                mode: mode.into(),
                ..view::Mode::default()
            }),
        }
    }
}

struct Served {
    _directory: tempfile::TempDir,
    runtime: Runtime,
    backend: Arc<Fake>,
    path: PathBuf,
    client: Client,
    stop: watch::Sender<bool>,
    server: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

fn serve_fake() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("api.sock");
    let runtime = Runtime::new().unwrap();
    let backend = Arc::new(Fake {
        events: Feed::new(100),
        stored: vec!["{\"id\":1}".into()],
        peers: Mutex::default(),
        recording: Mutex::default(),
    });
    let (stop, stopped) = watch::channel(false);
    let bound = bind(&path).unwrap();
    let routes = router(Arc::clone(&backend) as _, stopped.clone());
    let server = runtime.spawn(serve(bound, routes, async move {
        let _ = { stopped }.wait_for(|stop| *stop).await;
    }));
    let client = Client::new(&path);
    Served {
        _directory: directory,
        runtime,
        backend,
        path,
        client,
        stop,
        server: Some(server),
    }
}

impl Served {
    fn event(&self, workload: &str, n: u32) {
        let text = format!("{{\"n\":{n}}}");
        self.backend.events.push(Line {
            workload: workload.into(),
            text: text.into(),
        });
    }

    fn collect(&self, path: &str) -> Vec<String> {
        let mut lines = vec![];
        self.client
            .lines(path, |line| {
                lines.push(line.to_owned());
                Ok(())
            })
            .unwrap();
        lines
    }
}

#[test]
fn values_come_through() {
    let served = serve_fake();
    let status: view::Status = served.client.get("/v1/status").unwrap();
    assert_eq!((status.version.as_str(), status.drops), ("9", 3));
    let workloads: Vec<view::Workload> = served.client.get("/v1/workloads").unwrap();
    assert_eq!(workloads[0].name, "a");
    let mode: view::Mode = served.client.get("/v1/mode/a").unwrap();
    assert_eq!(mode.workload, "a");
}

#[test]
fn refusals_come_with_words_and_exit_codes() {
    let served = serve_fake();
    let refused = |path: &str| served.client.get::<view::Status>(path).unwrap_err();
    let check = |failure: Failure, exit, message: &str| {
        assert_eq!((failure.exit, failure.message.as_str()), (exit, message));
    };
    check(refused("/v1/hooks"), Exit::Failure, "the map is gone");
    check(
        refused("/v1/baseline/zz"),
        Exit::Failure,
        "there is no workload zz",
    );
    check(
        refused("/v1/nonsense"),
        Exit::Failure,
        "there is no such page",
    );
    let change = |mode: &str| {
        let change = view::ModeChange {
            mode: mode.into(),
            ..view::ModeChange::default()
        };
        served.client.post::<view::Mode>("/v1/mode/a", &change)
    };
    check(
        change("enforce").unwrap_err(),
        Exit::Denied,
        "declare first",
    );
    check(change("monitor").unwrap_err(), Exit::Denied, "not you");
    assert_eq!(change("learn").unwrap().mode, "learn");
    let nonsense = served
        .client
        .post::<view::Mode>("/v1/mode/a", &serde_json::json!({"mod": 1}));
    assert!(nonsense.unwrap_err().message.contains("mod"));
}

#[test]
fn decisions_come_through_with_who_decided() {
    let served = serve_fake();
    let decide = |action: &str| {
        let body = view::Decide {
            agent: Some("7".into()),
            ..view::Decide::default()
        };
        let path = format!("/v1/workloads/a/{action}");
        served.client.post::<view::Decided>(&path, &body)
    };
    assert_eq!(decide("confirm").unwrap().done, "a 7");
    assert!(decide("praise").unwrap_err().message.contains("praise"));
    assert_eq!(served.backend.peers.lock().unwrap().len(), 2);
    let search: view::Search = served.client.get("/v1/detection").unwrap();
    assert!(search.enabled);
}

#[test]
fn a_launcher_is_told_what_it_needs_and_who_it_is() {
    let served = serve_fake();
    let plan: view::LaunchPlan = served.client.get("/v1/launch/a/server").unwrap();
    assert_eq!(
        (plan.workload.as_str(), plan.role.as_str()),
        ("a", "server")
    );
    assert_eq!(plan.learned.len(), 1);
    let none = serde_json::json!({});
    let launched: view::Launched = served.client.post("/v1/launch/a/server", &none).unwrap();
    assert_eq!(launched.pid, std::process::id());
    let refused = served
        .client
        .post::<view::Launched>("/v1/launch/a/tool", &none)
        .unwrap_err();
    assert_eq!(refused.exit, Exit::Denied);
}

#[test]
fn the_kernel_says_who_asks() {
    let served = serve_fake();
    let change = view::ModeChange {
        mode: "learn".into(),
        ..view::ModeChange::default()
    };
    served
        .client
        .post::<view::Mode>("/v1/mode/a", &change)
        .unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    assert_eq!(
        *served.backend.peers.lock().unwrap(),
        [Peer {
            uid,
            pid: std::process::id()
        }]
    );
}

#[test]
fn lines_are_limited_and_filtered() {
    let served = serve_fake();
    for n in 0..6 {
        served.event(if n < 3 { "a" } else { "b" }, n);
    }
    assert_eq!(
        served.collect("/v1/events?limit=2"),
        ["{\"n\":4}", "{\"n\":5}"]
    );
    assert_eq!(
        served.collect("/v1/events?limit=2&workload=a"),
        ["{\"n\":1}", "{\"n\":2}"]
    );
    assert_eq!(served.collect("/v1/events").len(), 6);
    assert!(
        served
            .client
            .lines("/v1/events?limt=2", |_| Ok(()))
            .is_err()
    );
}

#[test]
fn who_follows_gets_every_line_once_and_is_let_go_at_a_stop() {
    let mut served = serve_fake();
    let client = served.client.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    let follower = std::thread::spawn(move || {
        client.lines("/v1/alerts?follow=true&workload=a", |line| {
            sender.send(line.to_owned()).unwrap();
            Ok(())
        })
    });
    let next = || receiver.recv_timeout(Duration::from_secs(30));
    // The fake repeats this line as a new one once somebody has subscribed.
    assert_eq!(next().unwrap(), "{\"id\":1}");
    served.event("b", 1);
    served.event("a", 2);
    assert_eq!(next().unwrap(), "{\"n\":2}");
    served.stop.send(true).unwrap();
    follower.join().unwrap().unwrap();
    assert!(receiver.recv().is_err(), "nothing came twice");
    let server = served.server.take().unwrap();
    served.runtime.block_on(server).unwrap().unwrap();
    assert!(!served.path.exists(), "the socket is gone");
}

#[test]
fn without_a_daemon_the_commands_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let failure = Client::new(dir.path().join("none"))
        .get::<view::Status>("/v1/status")
        .unwrap_err();
    assert_eq!(failure.exit, Exit::NotRunning);
    assert!(failure.message.contains("slmguard run"), "{failure}");
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("dead")).unwrap());
    let dead = Client::new(dir.path().join("dead"))
        .get::<view::Status>("/v1/status")
        .unwrap_err();
    assert_eq!(dead.exit, Exit::NotRunning);
}

/// Records until `flow` wants it to end; what came.
fn recorded(served: &Served, note: &str, flow: Flow) -> Result<String, Failure> {
    let order = view::RecordingOrder {
        note: note.into(),
        ..view::RecordingOrder::default()
    };
    let mut came = String::new();
    let result = served.client.record(&order, None, |bytes| {
        came.push_str(&String::from_utf8_lossy(bytes));
        Ok(flow)
    });
    result.map(|()| came)
}

#[test]
fn a_recording_ends_with_the_reason_of_whoever_ends_it() {
    let served = serve_fake();
    let came = recorded(&served, "", Flow::End("enough")).unwrap();
    assert_eq!(came, "a line\nbecause enough\n");
    assert_eq!(recorded(&served, "", Flow::Stop).unwrap(), "a line\n");
    let refused = recorded(&served, "busy", Flow::On).unwrap_err();
    assert_eq!(
        (refused.exit, refused.message.as_str()),
        (Exit::Denied, "end it first")
    );
}

#[test]
fn a_daemon_that_stops_makes_its_recording_whole() {
    let served = serve_fake();
    let stop = served.stop.clone();
    let mut came = String::new();
    served
        .client
        .record(&view::RecordingOrder::default(), None, |bytes| {
            came.push_str(&String::from_utf8_lossy(bytes));
            let _ = stop.send(true);
            Ok(Flow::On)
        })
        .unwrap();
    assert_eq!(came, "a line\nbecause the daemon was stopped\n");
}
