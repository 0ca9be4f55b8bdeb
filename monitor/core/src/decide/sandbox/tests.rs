//! Tests of plans over a file system that is made up.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A file system as a map; `None` is a directory.
#[derive(Clone, Debug, Default)]
struct Fake(BTreeMap<Vec<u8>, Kind>);

impl Fake {
    /// Files, with their directories; a name with `@` at the end is a link, with `/` a directory.
    fn of(paths: &[&str]) -> Self {
        let mut tree = Self::default();
        for path in paths {
            let (path, kind) = match (path.strip_suffix('@'), path.strip_suffix('/')) {
                (Some(path), _) => (path, Kind::Link),
                (_, Some(path)) => (path, Kind::Directory),
                _ => (*path, Kind::File),
            };
            for (at, _) in path.match_indices('/').skip(1) {
                let parent = path.as_bytes()[..at].to_vec();
                tree.0.entry(parent).or_insert(Kind::Directory);
            }
            tree.0.insert(path.as_bytes().to_vec(), kind);
        }
        tree
    }
}

impl Tree for Fake {
    fn kind(&self, path: &[u8]) -> Option<Kind> {
        self.0.get(path).copied()
    }
    fn children(&self, directory: &[u8]) -> Vec<(Vec<u8>, Kind)> {
        let top = if directory == b"/" { b"" } else { directory };
        let child = |(path, kind): (&Vec<u8>, &Kind)| {
            let name = path.strip_prefix(top)?.strip_prefix(b"/")?;
            (!name.contains(&b'/')).then(|| (name.to_vec(), *kind))
        };
        self.0.iter().filter_map(child).collect()
    }
    fn loader(&self, program: &[u8]) -> Option<Vec<u8>> {
        program
            .starts_with(b"/usr/bin/")
            .then(|| b"/usr/lib/ld.so".to_vec())
    }
}

#[derive(Clone, Debug)]
struct Case {
    tree: Fake,
    modes: Modes,
    abi: u32,
    allow: Rules,
    deny: Rules,
}

impl Case {
    fn new(paths: &[&str]) -> Self {
        Self {
            tree: Fake::of(paths),
            modes: Modes::all(Mode::Enforce),
            abi: 7,
            allow: Rules::default(),
            deny: Rules::default(),
        }
    }
    fn read(mut self, rules: &[&str]) -> Self {
        self.allow.read = strings(rules);
        self
    }
    fn write(mut self, rules: &[&str]) -> Self {
        self.allow.write = strings(rules);
        self
    }
    fn exec(mut self, rules: &[&str]) -> Self {
        self.allow.exec = strings(rules);
        self
    }
    fn deny(mut self, rules: &[&str]) -> Self {
        self.deny.read = strings(rules);
        self
    }
    fn plan(&self) -> Plan {
        let request = Request {
            modes: self.modes,
            abi: self.abi,
            learned: &[],
            allow: &self.allow,
            deny: &self.deny,
            start: &[],
            listen: None,
        };
        plan(&request, &self.tree).unwrap()
    }
}

fn strings(rules: &[&str]) -> Vec<String> {
    rules.iter().map(|r| (*r).to_owned()).collect()
}

fn reads(plan: &Plan, path: &str) -> bool {
    plan.grants(path.as_bytes(), right::READ_FILE)
}

fn writes(plan: &Plan, path: &str) -> bool {
    plan.grants(path.as_bytes(), right::WRITE_FILE)
}

#[track_caller]
fn noted(plan: &Plan, difference: Difference, rule: &str) {
    let found = plan
        .notes
        .iter()
        .any(|n| n.difference == difference && n.rule == rule);
    assert!(found, "{difference:?} {rule}: {:#?}", plan.notes);
}

#[test]
fn a_file_is_allowed_by_itself_and_a_hierarchy_with_what_is_in_it() {
    let plan = Case::new(&["/etc/hosts", "/etc/passwd", "/srv/m/a.gguf", "/srv/x"])
        .read(&["/etc/hosts", "/srv/m/**"])
        .plan();
    assert!(reads(&plan, "/etc/hosts") && reads(&plan, "/srv/m/a.gguf"));
    assert!(reads(&plan, "/srv/m/later"));
    assert!(!reads(&plan, "/etc/passwd") && !reads(&plan, "/srv/x"));
    assert!(!writes(&plan, "/etc/hosts"));
    assert!(!plan.grants(b"/etc/hosts", right::EXECUTE));
}

#[test]
fn what_is_forbidden_inside_a_hierarchy_is_cut_out() {
    let case = Case::new(&[
        "/srv/u/doc",
        "/srv/u/.ssh/id",
        "/srv/u/desk/a",
        "/srv/u/desk/key",
    ])
    .read(&["/srv/u/**"])
    .deny(&["/srv/u/desk/key"]);
    let plan = case.plan();
    assert!(reads(&plan, "/srv/u/doc") && reads(&plan, "/srv/u/desk/a"));
    assert!(!reads(&plan, "/srv/u/.ssh/id") && !reads(&plan, "/srv/u/desk/key"));
    noted(&plan, Difference::Narrower, "read /srv/u/**");
}

#[test]
fn stars_in_the_middle_cover_what_is_there() {
    let plan = Case::new(&["/srv/a/model", "/srv/b/model", "/srv/b/other"])
        .read(&["/srv/*/model"])
        .plan();
    assert!(reads(&plan, "/srv/a/model") && reads(&plan, "/srv/b/model"));
    assert!(!reads(&plan, "/srv/b/other") && !reads(&plan, "/srv/later/model"));
    noted(&plan, Difference::Narrower, "read /srv/*/model");
}

#[test]
fn a_star_for_writing_lets_files_be_made_and_says_when_that_reaches_further() {
    let plan = Case::new(&["/var/tmp/a/"]).write(&["/var/tmp/a/*"]).plan();
    assert!(plan.grants(b"/var/tmp/a/new", right::WRITE_FILE | right::MAKE_REG));
    assert!(!plan.grants(b"/var/tmp/a/new", right::MAKE_DIR));
    assert!(!plan.grants(b"/var/tmp/a/new", right::MAKE_CHAR));
    assert!(
        !plan
            .notes
            .iter()
            .any(|n| n.difference == Difference::Wider && n.to.is_some())
    );
    let plan = Case::new(&["/var/tmp/a/sub/"])
        .write(&["/var/tmp/a/*"])
        .plan();
    noted(&plan, Difference::Wider, "write /var/tmp/a/*");
}

#[test]
fn links_and_missing_files_allow_nothing_and_are_named() {
    let plan = Case::new(&["/bin@", "/usr/bin/true"])
        .exec(&["/bin/true"])
        .write(&["/run/x.pid"])
        .plan();
    assert!(!plan.grants(b"/usr/bin/true", right::EXECUTE));
    noted(&plan, Difference::Narrower, "exec /bin/true");
    noted(&plan, Difference::Narrower, "write /run/x.pid");
}

#[test]
fn a_program_comes_with_its_loader() {
    let plan = Case::new(&["/usr/bin/date", "/usr/bin/sh", "/usr/lib/ld.so"])
        .exec(&["/usr/bin/date"])
        .plan();
    assert!(plan.grants(b"/usr/bin/date", right::EXECUTE | right::READ_FILE));
    assert!(plan.grants(b"/usr/lib/ld.so", right::EXECUTE));
    assert!(!plan.grants(b"/usr/bin/sh", right::EXECUTE));
    assert!(
        plan.notes
            .iter()
            .any(|n| n.to.as_deref() == Some("/usr/lib/ld.so"))
    );
}

#[test]
fn proc_is_allowed_as_a_whole_and_said() {
    let case = Case::new(&["/proc/1/environ", "/etc/hosts"]).read(&["/proc/self/maps"]);
    let plan = case.deny(&["/proc/kcore"]).plan();
    assert!(reads(&plan, "/proc/4/maps"));
    noted(&plan, Difference::Wider, "read /proc");
    noted(&plan, Difference::Hooks, "deny /proc/kcore");
}

#[test]
fn families_that_are_not_enforced_are_let_be() {
    let mut case = Case::new(&["/a"]);
    case.modes = Modes::all(Mode::Learn).with(Family::Exec, Mode::Enforce);
    let plan = case.plan();
    assert!(reads(&plan, "/a") && writes(&plan, "/a"));
    assert!(!plan.grants(b"/a", right::EXECUTE));
    assert!(plan.grants(b"/a", right::REFER));
    assert_eq!(plan.landlock.unwrap().connect, None);
}

#[test]
fn learn_confines_nothing_and_monitor_what_no_program_may_do() {
    let mut case = Case::new(&["/a"]);
    case.modes = Modes::all(Mode::Learn);
    assert_eq!(case.plan(), Plan::default());
    case.modes = Modes::all(Mode::Monitor);
    let plan = case.plan();
    assert!(reads(&plan, "/a") && writes(&plan, "/a") && plan.grants(b"/a", right::EXECUTE));
    assert!(calls::judge(&plan.calls, "ptrace", &[0; 6]).is_some());
    let landlock = plan.landlock.unwrap();
    assert_ne!(landlock.handled, 0, "a domain keeps others' memory closed");
    assert!(landlock.scope_signals && !landlock.scope_abstract);
    assert_eq!((landlock.connect, landlock.bind), (None, None));
}

#[test]
fn older_versions_get_what_they_know() {
    for abi in 1..=8 {
        let mut case = Case::new(&["/d/f"]).write(&["/d/**"]);
        case.abi = abi;
        case.allow.connect = strings(&["10.0.0.1:443/tcp", "10.0.0.2:53/udp"]);
        let plan = case.plan();
        let landlock = plan.landlock.as_ref().unwrap();
        assert_eq!(landlock.handled & !right::known(abi), 0, "{abi}");
        for rule in &landlock.paths {
            assert_eq!(rule.rights & !landlock.handled, 0, "{abi}: {rule:?}");
        }
        assert_eq!(landlock.connect.is_some(), abi >= 4);
        assert_eq!(landlock.scope_signals, abi >= 6);
        assert_eq!(plan.notes.iter().any(|n| n.rule == "scopes"), abi < 6);
        assert!(writes(&plan, "/d/f"));
    }
    assert!(right::known(3) & right::TRUNCATE != 0 && right::known(2) & right::TRUNCATE == 0);
}

#[test]
fn ports_are_those_of_tcp_destinations() {
    let mut case = Case::new(&[]);
    case.allow.connect = strings(&["10.0.0.1:443/tcp", "10.0.0.2:53/udp", "[::1]:8080"]);
    let connect = case.plan().landlock.unwrap().connect.unwrap();
    assert_eq!(connect.into_iter().collect::<Vec<_>>(), [443, 8080]);
    case.allow.connect.push("api.example.com:4443".into());
    let connect = case.plan().landlock.unwrap().connect.unwrap();
    assert!(connect.contains(&4443));
    for any in ["10.0.0.3:*", "db.corp.example@private:*"] {
        case.allow.connect.push(any.into());
        let plan = case.plan();
        noted(&plan, Difference::Hooks, any);
        assert_eq!(plan.landlock.unwrap().connect, None);
        case.allow.connect.pop();
    }
}

#[test]
fn listening_is_held_to_the_ports_that_are_known() {
    let mut case = Case::new(&[]);
    let bind = |case: &Case| {
        let bind = case.plan().landlock.unwrap().bind;
        bind.map(|ports| ports.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(bind(&case), None);
    noted(&case.plan(), Difference::Hooks, "listening");
    case.allow.listen = strings(&["127.0.0.1:8080/tcp", "0.0.0.0:9000"]);
    assert_eq!(bind(&case), Some(vec![8080, 9000]));
    case.allow.listen.push("0.0.0.0:*".into());
    assert_eq!(bind(&case), None);
}

#[test]
fn abstract_sockets_are_allowed_all_or_none() {
    let mut case = Case::new(&[]);
    assert!(case.plan().landlock.unwrap().scope_abstract);
    case.allow.unix = strings(&["/run/x.sock"]);
    assert!(case.plan().landlock.unwrap().scope_abstract);
    case.allow.unix.push("@x".into());
    assert!(!case.plan().landlock.unwrap().scope_abstract);
    noted(&case.plan(), Difference::Hooks, "@x");
}

#[test]
fn facilities_of_the_policy_are_let_through_unless_forbidden() {
    let mut case = Case::new(&[]);
    let refused = |case: &Case| calls::judge(&case.plan().calls, "io_uring_setup", &[0; 6]);
    assert!(refused(&case).is_some());
    case.allow.facilities = strings(&["io_uring", "ptrace"]);
    assert!(refused(&case).is_none());
    assert!(calls::judge(&case.plan().calls, "ptrace", &[0; 6]).is_some());
    noted(&case.plan(), Difference::Hooks, "io_uring");
    case.deny.facilities = strings(&["io_uring"]);
    assert!(refused(&case).is_some());
}

#[test]
fn people_and_scripts_are_told_everything() {
    let plan = Case::new(&["/d/f", "/d/s/x"]).write(&["/d/*"]).plan();
    let lines = plan.to_lines().join("\n");
    assert!(
        lines.contains("Landlock 7") && lines.contains("io_uring_setup"),
        "{lines}"
    );
    assert!(lines.contains("not expressible, allows more"), "{lines}");
    let json = plan.to_json();
    assert_eq!(json["landlock"]["paths"][0]["path"], "/d");
    let notes = json["not_expressible"].as_array().unwrap();
    assert!(
        notes
            .iter()
            .any(|n| n["rule"] == "write /d/*" && n["to"] == "/d")
    );
}

#[test]
fn a_sandbox_fits_what_children_can_become() {
    let configured = [Role::Server, Role::Agent, Role::Shell];
    assert_eq!(
        reachable(Role::Server, &configured),
        [Role::Server, Role::Tool, Role::Shell, Role::Agent]
    );
    assert_eq!(
        reachable(Role::Tool, &configured),
        [Role::Tool, Role::Shell]
    );
    assert_eq!(reachable(Role::Agent, &[]), [Role::Tool, Role::Agent]);
}

#[test]
fn a_rule_that_cannot_be_read_is_an_error() {
    let case = Case::new(&[]).read(&["/lib/*.so"]);
    let request = Request {
        modes: case.modes,
        abi: 7,
        learned: &[],
        allow: &case.allow,
        deny: &case.deny,
        start: &[],
        listen: None,
    };
    assert!(plan(&request, &case.tree).is_err());
}

/// What the policy says about a path: allowed by a rule, and not forbidden with what is above it.
fn policy_allows(case: &Case, path: &str, permission: u8) -> bool {
    let parts: Vec<&[u8]> = crate::text::components(path.as_bytes()).collect();
    let any = |rules: &[String], parts: &[&[u8]]| {
        rules.iter().any(|rule| {
            PathPattern::parse(rule, permission)
                .unwrap()
                .matches(parts, false)
        })
    };
    let (allow, deny) = match permission {
        permission::READ => (&case.allow.read, &case.deny.read),
        permission::WRITE => (&case.allow.write, &case.deny.write),
        _ => (&case.allow.exec, &case.deny.exec),
    };
    let denied = (1..=parts.len()).any(|n| any(deny, &parts[..n]));
    any(allow, &parts) && !denied
}

prop_compose! {
    fn pattern()(parts in proptest::collection::vec("(a|b|c|\\*|\\*\\*)", 1..4)) -> String {
        format!("/{}", parts.join("/"))
    }
}

prop_compose! {
    fn case()(
        paths in proptest::collection::vec("(/[abc]){1,4}[@/]?", 1..12),
        allow in proptest::collection::vec(pattern(), 0..4),
        deny in proptest::collection::vec(pattern(), 0..3),
        kind in 0..3_u8,
        abi in 1..8_u32,
    ) -> (Case, u8) {
        // A path below a file or a link is no path.
        let mut kept: Vec<String> = vec![];
        for path in paths {
            let bare = path.trim_end_matches(['@', '/']).to_owned();
            let clash = kept.iter().any(|k| {
                let other = k.trim_end_matches(['@', '/']);
                other == bare
                    || (bare.starts_with(&format!("{other}/")) && !k.ends_with('/'))
                    || other.starts_with(&format!("{bare}/"))
            });
            if !clash {
                kept.push(path);
            }
        }
        let paths: Vec<&str> = kept.iter().map(String::as_str).collect();
        let mut case = Case { abi, ..Case::new(&paths) };
        let of = |rules: Vec<String>| match kind {
            0 => Rules { read: rules, ..Rules::default() },
            1 => Rules { write: rules, ..Rules::default() },
            _ => Rules { exec: rules, ..Rules::default() },
        };
        (case.allow, case.deny) = (of(allow), of(deny));
        (case, [permission::READ, permission::WRITE, permission::EXEC][usize::from(kind)])
    }
}

fn right_of(permission: u8) -> u32 {
    match permission {
        permission::READ => right::READ_FILE,
        permission::WRITE => right::WRITE_FILE,
        _ => right::EXECUTE,
    }
}

proptest! {
    #[test]
    fn no_plan_allows_what_the_policy_denies((case, permission) in case()) {
        let plan = case.plan();
        for (path, kind) in case.tree.0.iter().filter(|(_, kind)| **kind == Kind::File) {
            let text = std::str::from_utf8(path).unwrap();
            let widened = plan.notes.iter().any(|note| {
                note.difference == Difference::Wider
                    && note.to.as_ref().is_some_and(|to| is_below(path, to.as_bytes()))
            });
            let granted = plan.grants(path, right_of(permission));
            prop_assert!(
                !granted || widened || policy_allows(&case, text, permission),
                "{text} {kind:?}: {plan:?}"
            );
            // What is forbidden is not even part of what was widened.
            let forbidden = denied(&case, text, permission);
            prop_assert!(!(granted && forbidden), "{text}: {plan:?}");
        }
    }

    #[test]
    fn what_the_policy_allows_is_allowed_or_named((case, permission) in case()) {
        let plan = case.plan();
        let named = plan.notes.iter().any(|n| n.difference == Difference::Narrower && n.rule != "Landlock 1");
        for path in case.tree.0.iter().filter(|(_, kind)| **kind == Kind::File).map(|(p, _)| p) {
            let text = std::str::from_utf8(path).unwrap();
            if policy_allows(&case, text, permission) {
                prop_assert!(plan.grants(path, right_of(permission)) || named, "{text}: {plan:?}");
            }
        }
    }

    #[test]
    fn more_deny_rules_never_allow_more((case, permission) in case(), more in pattern()) {
        let before = case.plan();
        let mut tighter = case.clone();
        match permission {
            permission::READ => tighter.deny.read.push(more),
            permission::WRITE => tighter.deny.write.push(more),
            _ => tighter.deny.exec.push(more),
        }
        let after = tighter.plan();
        for path in case.tree.0.keys() {
            for bit in 0..16 {
                let right = 1 << bit;
                prop_assert!(!after.grants(path, right) || before.grants(path, right));
            }
        }
    }

    #[test]
    fn more_allow_rules_never_allow_less((case, permission) in case(), more in pattern()) {
        let before = case.plan();
        let mut looser = case.clone();
        match permission {
            permission::READ => looser.allow.read.push(more),
            permission::WRITE => looser.allow.write.push(more),
            _ => looser.allow.exec.push(more),
        }
        let after = looser.plan();
        for path in case.tree.0.keys() {
            for bit in 0..16 {
                let right = 1 << bit;
                prop_assert!(after.grants(path, right) || !before.grants(path, right));
            }
        }
    }
}

fn denied(case: &Case, path: &str, permission: u8) -> bool {
    let everything = Case {
        allow: Rules {
            read: strings(&["/**"]),
            write: strings(&["/**"]),
            exec: strings(&["/**"]),
            ..Rules::default()
        },
        ..case.clone()
    };
    !policy_allows(&everything, path, permission)
}
