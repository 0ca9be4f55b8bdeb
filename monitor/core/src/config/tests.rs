//! Tests of the configuration: what the manual shows is understood, every mistake is named.

use proptest::prelude::*;

use super::*;

fn read(toml: &str) -> Config {
    toml::from_str(toml).unwrap()
}

/// The one problem of a configuration, as `path: message`.
#[track_caller]
fn problem(toml: &str) -> String {
    let problems = validate(&read(toml));
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].to_string()
}

const MANUAL: &str = r#"
state_dir = "/var/lib/slmguard"
socket    = "/run/slmguard/api.sock"
pin_dir   = "/sys/fs/bpf/slmguard"
[metrics]
listen = "127.0.0.1:9464"
[log]
level = "info"
format = "human"
[alerts]
file = "/var/lib/slmguard/alerts.jsonl"
format = "ocsf"
[kernel]
tier = "auto"
disable_hooks = ["lsm_file_open"]
[volume]
slot = "60s"
least = 100
[[workload]]
name = "assistant"
mode = "learn"
private = ["/srv/data/**", "/srv/mail/{uuid}.eml"]
untrusted = ["/srv/inbox/**", "/srv/mail/{uuid}.eml"]
[[workload.process]]
role = "server"
exe  = "/usr/bin/node"
argv = ["server.mjs"]
cgroup = "/system.slice/x.slice"
unit = "llama.service"
user = "slm"
[[workload.process]]
role = "agent"
unit = "agent.service"
[workload.allow]
connect = ["10.0.0.0/8:443/tcp", "127.0.0.1:8080/tcp", "[::1]:53/udp", "10.1.2.3:*"]
read = ["/srv/models/**"]
write = []
exec = ["/usr/bin/date"]
[workload.deny]
read = ["/srv/models/secret/**"]
[workload.undeniable]
server = "alert"
agent = "kill"
"#;

const SMALL: &str =
    "[[workload]]\nname = \"a\"\n[[workload.process]]\nrole = \"server\"\nexe = \"/usr/bin/x\"\n";

#[test]
fn lengths_and_numbers_of_slots_are_checked() {
    use crate::baseline::volume::ledger::Settings;
    let settings = |text: &str| read(text).volume.settings();
    assert_eq!(settings(""), Ok(Settings::default()));
    let short = settings("[volume]\nslot = \"1s\"\nleast = 5\n").unwrap();
    assert_eq!((short.slot, short.least), (1_000_000_000, 5));
    for slot in ["", "60", "0s", "2h", "1.5s", "-1m", "1s\u{1b}[0m"] {
        let toml = format!("[volume]\nslot = {slot:?}\n").replace("\\u{1b}", "\\u001b");
        let problem = problem(&toml);
        assert!(problem.starts_with("volume.slot: `"), "{problem}");
        assert!(!problem.contains('\u{1b}'), "{problem}");
    }
    let few = problem("[volume]\nleast = 4\n");
    assert!(few.starts_with("volume.least: 4 is too few"), "{few}");
}

#[test]
fn the_configuration_of_the_manual_is_understood() {
    let config = read(MANUAL);
    assert_eq!(validate(&config), []);
    assert_eq!(config.workloads[0].processes.len(), 2);
    assert_eq!(config.workloads[0].deny.read.len(), 1);
    assert_eq!(
        alerts_file(&config),
        std::path::Path::new("/var/lib/slmguard/alerts.jsonl")
    );
}

#[test]
fn an_empty_configuration_has_defaults_that_are_valid() {
    let config = read("");
    assert_eq!(config, Config::default());
    assert_eq!(validate(&config), []);
    assert_eq!(
        metrics_address(&config),
        Ok(Some("127.0.0.1:9464".parse().unwrap()))
    );
    assert_eq!(
        alerts_file(&config),
        std::path::Path::new("/var/lib/slmguard/alerts.jsonl")
    );
}

#[test]
fn unknown_keys_are_errors_at_every_level() {
    for toml in [
        "mode = 'learn'",
        "[metrics]\nport = 1",
        "[[workload]]\nname = 'a'\nroles = []",
        "[[workload]]\nname = 'a'\n[workload.allow]\nopen = []",
        "[[workload]]\nname = 'a'\n[[workload.process]]\nrole = 'server'\npath = '/x'",
    ] {
        assert!(toml::from_str::<Config>(toml).is_err(), "{toml}");
    }
}

#[test]
fn each_mistake_says_where_it_is_and_what_to_write() {
    assert_eq!(
        problem("pin_dir = ''"),
        "pin_dir: is empty; write an absolute path"
    );
    assert_eq!(
        problem("state_dir = 'x'"),
        "state_dir: \"x\" is not an absolute path"
    );
    assert_eq!(
        problem("socket = '/run/../x'"),
        "socket: \"/run/../x\" holds `..`; write the path that is meant"
    );
    assert!(
        problem(&format!("socket = '/{}'", "x".repeat(107)))
            .starts_with("socket: is 108 bytes long")
    );
    assert!(
        problem("[metrics]\nlisten = ':9464'")
            .starts_with("metrics.listen: \":9464\" is not an address")
    );
    assert!(
        problem("[log]\nlevel = 'loud'")
            .starts_with("log.level: \"loud\" is not known; write one of: error,")
    );
    assert!(problem("[kernel]\ndisable_hooks = ['connect']").contains("slmguard doctor"));
    assert!(problem("[[workload]]\nname = 'a'").starts_with("workload[0]: has no process"));
    assert!(
        problem(&SMALL.replace("\"a\"", "\"A b\""))
            .starts_with("workload[0].name: \"A b\" is not a name")
    );
    assert!(
        problem(&SMALL.replace("server", "boss"))
            .starts_with("workload[0].process[0].role: \"boss\"")
    );
    assert!(
        problem(&SMALL.replace("exe = \"/usr/bin/x\"", "user = 'me'"))
            .contains("add exe, cgroup or unit")
    );
    assert!(
        problem(&format!("{SMALL}cgroup = 'a/b'")).starts_with("workload[0].process[0].cgroup")
    );
    assert!(problem(&format!("{SMALL}unit = 'a/b'")).starts_with("workload[0].process[0].unit"));
    assert!(problem(&format!("{SMALL}argv = ['']")).starts_with("workload[0].process[0].argv[0]"));
    assert_eq!(
        problem(&format!(
            "{SMALL}[workload.allow]\nread = ['/a', '/lib/*.so']"
        )),
        "workload[0].allow.read[1]: path `/lib/*.so`: `*.so`: `*` stands for a whole component; write `*` alone, or `\\x2a` for an asterisk in a name"
    );
    assert!(
        problem(&format!(
            "{SMALL}[workload.deny]\nconnect = ['example.org:1']"
        ))
        .starts_with("workload[0].deny.connect[0]: destination `example.org:1`")
    );
    assert!(
        problem(&format!("{SMALL}[workload.undeniable]\nagent = 'nap'")).contains("kill, alert")
    );
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let config =
        read("pin_dir = ''\n[log]\nlevel = 'x'\n[kernel]\ntier = 'y'\n[[workload]]\nname = ''");
    assert_eq!(validate(&config).len(), 5);
}

#[test]
fn workloads_that_cannot_be_told_apart_are_refused() {
    let twice = format!("{SMALL}{SMALL}");
    let problems: Vec<_> = validate(&read(&twice))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("workload[1].name: \"a\" is the name of workload[0] already"));
    assert!(problems[1].starts_with(
        "workload[1].process[0]: recognises the same processes as workload[0].process[0]"
    ));
}

#[test]
fn what_does_not_fit_into_the_kernel_is_refused() {
    let many: String = (0..9)
        .map(|i| format!("[[workload.process]]\nrole='tool'\nexe='/x'\nargv=['{i}']\n"))
        .collect();
    assert!(
        problem(&format!("[[workload]]\nname = 'a'\n{many}"))
            .contains("9 process rules are about \"/x\"")
    );
    let crowd: String = (0..300)
        .map(|i| {
            SMALL
                .replace("\"a\"", &format!("\"w{i}\""))
                .replace("/x", &format!("/x{i}"))
        })
        .collect();
    assert!(problem(&crowd).contains("classes"));
}

#[test]
fn hostile_text_in_a_mistake_is_escaped() {
    assert!(problem("[log]\nlevel = \"a\\u001b[31m\"").contains("a\\u{1b}[31m"));
}

#[test]
fn what_is_declared_about_files_is_held_to_the_grammar_of_rules() {
    let of = |line: &str| {
        problem(&format!(
            "[[workload]]\nname = \"a\"\n{line}\n[[workload.process]]\nrole = \"tool\"\nexe = \"/x\""
        ))
    };
    let found = of("private = [\"/srv/**\", \"srv/data\"]");
    assert_eq!(
        found.split(": ").next(),
        Some("workload[0].private[1]"),
        "{found}"
    );
    assert!(found.contains("must start with `/`"), "{found}");
    let found = of("untrusted = [\"/srv/*.eml\"]");
    assert!(
        found.starts_with("workload[0].untrusted[0]: ") && found.contains("whole component"),
        "{found}"
    );
}

#[test]
fn a_proxy_that_is_none_is_named_with_what_to_write() {
    let of = |line: &str| {
        problem(&format!(
            "[[workload]]\nname = \"a\"\n{line}\n[[workload.process]]\nrole = \"tool\"\nexe = \"/x\""
        ))
    };
    let found = of("proxies = [\"10.0.0.5:3128\", \"proxy.example:3128\"]");
    assert!(
        found.starts_with("workload[0].proxies[1]: ") && found.contains("write each address"),
        "{found}"
    );
    let many: Vec<_> = (0..17).map(|n| format!("\"10.0.0.{n}:3128\"")).collect();
    let found = of(&format!("proxies = [{}]", many.join(", ")));
    assert!(
        found.starts_with("workload[0].proxies: has more than 16"),
        "{found}"
    );
}

prop_compose! {
    fn process()(role in ".{0,8}", exe in proptest::option::of(".{0,12}"), argv in proptest::collection::vec(".{0,6}", 0..10), cgroup in proptest::option::of(".{0,8}"), unit in proptest::option::of(".{0,8}"), user in proptest::option::of(".{0,8}")) -> Process {
        Process { role, exe: exe.map(Into::into), argv, cgroup, unit, user }
    }
}

prop_compose! {
    fn workload()(name in ".{0,8}", mode in "(learn|.{0,4})", processes in proptest::collection::vec(process(), 0..4), rule in "[\\[\\]/*:.0-9a-z\\\\{}]{0,16}", role in ".{0,6}") -> Workload {
        let rules = Rules { connect: vec![rule.clone()], read: vec![format!("/{rule}")], write: vec![rule.clone()], exec: vec![rule.clone()], unix: vec![rule.clone(), format!("@{rule}")], listen: vec![rule.clone()], facilities: vec![rule.clone()] };
        Workload { name, mode, private: vec![rule.clone()], proxies: vec![rule.clone()], untrusted: vec![rule.clone()], processes, allow: rules.clone(), deny: rules, adapt: BY_APPROVAL.into(), undeniable: [(role, rule)].into() }
    }
}

proptest! {
    #[test]
    fn validation_takes_anything(workloads in proptest::collection::vec(workload(), 0..4), text in ".{0,16}") {
        let mut config = Config { state_dir: text.clone().into(), socket: text.clone().into(), workloads, ..Config::default() };
        config.metrics.listen = text.clone();
        config.kernel.disable_hooks = vec![text];
        for problem in validate(&config) {
            prop_assert!(!problem.message.contains('\n'), "{}", problem);
        }
    }
}

/// The text of every fenced block of a language in a page.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str())
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[test]
fn a_format_that_there_is_not_is_told_with_those_that_there_are() {
    let error = toml::from_str::<Config>("[alerts]\nformat = \"xml\"\n").unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`xml` is not a format; write one of json, ocsf, ecs, cef, leef, rfc5424"),
        "{text}"
    );
    let config: Config = toml::from_str("[alerts]\nformat = \"leef\"\n").unwrap();
    assert_eq!(config.alerts.format, crate::alert::Format::Leef);
    assert_eq!(Config::default().alerts.format, crate::alert::Format::Json);
}

#[test]
fn every_configuration_in_the_documentation_is_valid() {
    let pages = [
        include_str!("../../../../README.md"),
        include_str!("../../../../docs/operators.md"),
    ];
    let mut seen = 0;
    for block in pages.iter().flat_map(|page| blocks(page, "toml")) {
        let config: Config = toml::from_str(block).unwrap_or_else(|e| panic!("{e}\n{block}"));
        assert_eq!(validate(&config), [], "{block}");
        seen += 1;
    }
    assert!(seen >= 2, "the pages have lost their examples");
}

#[test]
fn the_alert_in_the_documentation_is_one_we_would_send() {
    let page = include_str!("../../../../docs/events.md");
    let golden = include_str!("../alert/golden/connect_blocked.json");
    assert_eq!(blocks(page, "json").concat().trim(), golden.trim());
}

#[test]
fn rules_that_do_not_fit_into_the_kernel_are_named() {
    let many: Vec<String> = (0..20_000)
        .map(|n| format!("\"10.1.{}.{}:443/tcp\"", n / 256, n % 256))
        .collect();
    let text = format!(
        "[[workload]]\nname = \"a\"\n[workload.allow]\nconnect = [{}]\n[[workload.process]]\n\
         role = \"tool\"\nexe = \"/bin/x\"\n",
        many.join(", ")
    );
    let found = validate(&toml::from_str(&text).unwrap());
    assert_eq!(found.len(), 1, "{found:?}");
    let message = found[0].to_string();
    assert!(
        message.starts_with("workload[0]: ") && message.contains("first that does not fit"),
        "{message}"
    );
}
