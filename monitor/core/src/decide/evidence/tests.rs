//! Tests of the ladder.

use proptest::prelude::*;

use super::*;

const TOOL: Subject<'_> = Subject {
    pid: 4242,
    program: "/usr/bin/python3",
    enrolled: true,
    ours: false,
    role_is_tool: true,
    workload: "chat",
};

fn novelty(family: &str, tier: Tier) -> Evidence {
    Evidence::Novelty {
        family: family.into(),
        tier,
        reason: format!("new {family}"),
    }
}

fn taint() -> Evidence {
    Evidence::Taint {
        reason: "chain".into(),
    }
}

fn answer(evidence: &[Evidence]) -> Vec<Action> {
    respond(
        evidence,
        &TOOL,
        Permission::default(),
        &mut Breaker::default(),
        0,
    )
    .actions
}

#[test]
fn novelty_with_taint_blocks_and_kills_whatever_the_tier() {
    use Action::*;
    assert_eq!(answer(&[novelty("name", Tier::Alert)]), [Alert]);
    assert_eq!(
        answer(&[novelty("name", Tier::Throttle)]),
        [Alert, Throttle]
    );
    assert_eq!(answer(&[novelty("name", Tier::Block)]), [Alert, Deny]);
    assert_eq!(answer(&[novelty("name", Tier::Kill)]), [Alert, Deny]);
    let two = [novelty("name", Tier::Kill), novelty("exec", Tier::Alert)];
    assert_eq!(answer(&two), [Alert, Deny, KillTool]);
    assert_eq!(
        answer(&[novelty("name", Tier::Alert), taint()]),
        [Alert, Deny, KillTool]
    );
    assert_eq!(answer(&[novelty("name", Tier::Learn), taint()]), []);
    assert_eq!(answer(&[taint()]), []);
}

#[test]
fn an_invariant_quarantines_only_where_a_secret_may_leave() {
    use Action::*;
    let broken = |secret| Evidence::Invariant {
        reason: "mem".into(),
        secret,
    };
    assert_eq!(answer(&[broken(true)]), [Alert, Deny, KillTool]);
    assert_eq!(answer(&[broken(false), taint()]), [Alert, Deny, KillTool]);
    assert_eq!(
        answer(&[broken(true), taint()]),
        [Alert, Deny, KillTool, Quarantine]
    );
}

#[test]
fn statistics_alone_never_do_more_than_throttle() {
    use Action::*;
    let p = |p| Evidence::Statistic {
        p,
        reason: "odd".into(),
    };
    assert_eq!(answer(&[p(2e-3)]), []);
    assert_eq!(answer(&[p(5e-4)]), [Alert]);
    assert_eq!(answer(&[p(1e-9), taint()]), [Alert, Throttle]);
    assert_eq!(answer(&[p(f64::NAN)]), []);
    assert_eq!(
        answer(&[Evidence::Shift {
            reason: "leak".into()
        }]),
        [Alert, Throttle]
    );
}

#[test]
fn a_server_is_cut_off_instead_of_killed() {
    let server = Subject {
        role_is_tool: false,
        ..TOOL
    };
    let evidence = [novelty("name", Tier::Block), taint()];
    let response = respond(
        &evidence,
        &server,
        Permission::default(),
        &mut Breaker::default(),
        0,
    );
    assert_eq!(
        response.actions,
        [Action::Alert, Action::Deny, Action::CutFlow]
    );
}

#[test]
fn a_kill_too_many_becomes_a_block_and_a_page() {
    let mut breaker = Breaker::default();
    let evidence = [novelty("name", Tier::Block), taint()];
    let mut again = |now| respond(&evidence, &TOOL, Permission::default(), &mut breaker, now);
    assert!(again(0).actions.contains(&Action::KillTool));
    let second = again(1);
    assert_eq!(second.actions, [Action::Alert, Action::Page, Action::Deny]);
    assert!(
        again(6 * 60 * 1_000_000_000)
            .actions
            .contains(&Action::KillTool)
    );
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let tiers = prop::sample::select(vec![
        Tier::Learn,
        Tier::Alert,
        Tier::Throttle,
        Tier::Block,
        Tier::Kill,
    ]);
    prop_oneof![
        any::<bool>().prop_map(|secret| Evidence::Invariant {
            reason: "i".into(),
            secret
        }),
        (0..3u8, tiers).prop_map(|(f, tier)| novelty(&f.to_string(), tier)),
        Just(taint()),
        any::<f64>().prop_map(|p| Evidence::Statistic {
            p,
            reason: "s".into()
        }),
        Just(Evidence::Shift { reason: "c".into() }),
    ]
}

proptest! {
    #[test]
    fn what_keeps_the_host_running_is_only_ever_told_about(
        evidence in prop::collection::vec(any_evidence(), 0..8),
        who in 0..6usize,
        kill_workload in any::<bool>(),
    ) {
        let spared = [
            Subject { pid: 1, ..TOOL },
            Subject { program: "/usr/lib/systemd/systemd-journald", ..TOOL },
            Subject { program: "/usr/sbin/sshd", ..TOOL },
            Subject { program: "/usr/bin/containerd-shim-runc-v2", ..TOOL },
            Subject { ours: true, ..TOOL },
            Subject { enrolled: false, ..TOOL },
        ];
        let permission = Permission { kill_workload };
        let response = respond(&evidence, &spared[who], permission, &mut Breaker::default(), 0);
        prop_assert!(response.actions.iter().all(|a| *a == Action::Alert), "{:?}", response);
    }

    #[test]
    fn without_an_invariant_or_novelty_nothing_is_refused_or_killed(
        evidence in prop::collection::vec(any_evidence(), 0..8),
    ) {
        let hard = evidence.iter().any(|e| match e {
            Evidence::Invariant { .. } => true,
            Evidence::Novelty { tier, .. } => *tier > Tier::Learn,
            _ => false,
        });
        let actions = answer(&evidence);
        if !hard {
            prop_assert!(actions.iter().all(|a| *a <= Action::Throttle), "{:?}", actions);
        }
        // Deny first, then kill; every action has a reason.
        if actions.iter().any(|a| a.kills()) {
            prop_assert!(actions.contains(&Action::Deny));
        }
        let permission = Permission::default();
        let response = respond(&evidence, &TOOL, permission, &mut Breaker::default(), 0);
        prop_assert!(response.actions.is_empty() || !response.reasons.is_empty());
    }
}
