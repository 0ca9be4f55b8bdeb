//! What makes two processes replicas of one workload, and what that workload is called.

use super::{
    grouping::{Grouping, template},
    program::base_name,
    servers::Detector,
};

/// Longest name.
const LONGEST: usize = 63;
/// Room that is left for a number at the end.
const NUMBER: usize = 5;

/// What replicas have in common. The same text means the same workload, also after a restart of
/// the unit, the container or the daemon.
///
/// Of units, instances of a template are replicas. Of containers and pods the path gives away ids
/// only, which differ from replica to replica: there, as without a unit, what they run decides.
pub fn key(detector: Detector, exe: &str, telling: &[String], grouping: &Grouping) -> String {
    let place = match (&grouping.unit, &grouping.container, &grouping.pod) {
        (_, _, Some(_)) => "pod".to_owned(),
        (_, Some(container), None) if is_named(container.runtime) => {
            format!("container {}", container.id)
        }
        (_, Some(_), None) => "container".to_owned(),
        (Some(unit), None, None) => format!("unit {}", template(unit)),
        (None, None, None) => "host".to_owned(),
    };
    let mut key = format!("{}\n{place}\n{exe}", detector.id());
    for argument in telling {
        key.push('\n');
        key.push_str(argument);
    }
    key
}

/// A name that is not taken: of the unit, else of a container that has one, else of the server and
/// what it serves.
pub fn name(
    detector: Detector,
    exe: &str,
    model: Option<&str>,
    grouping: &Grouping,
    taken: &dyn Fn(&str) -> bool,
) -> String {
    let container = grouping.container.as_ref().filter(|c| is_named(c.runtime));
    let wanted = match (&grouping.unit, container) {
        (Some(unit), _) => template(unit)
            .trim_end_matches(".service")
            .trim_end_matches('@')
            .to_owned(),
        (None, Some(container)) => container.id.clone(),
        (None, None) => {
            let server = match detector {
                Detector::Generic => base_name(exe),
                known => known.id(),
            };
            match model.map(stem).filter(|m| !m.is_empty()) {
                Some(model) => format!("{server}-{model}"),
                None => server.to_owned(),
            }
        }
    };
    let mut base = plain(&wanted);
    if base.is_empty() {
        base = "workload".into();
    }
    if !taken(&base) {
        return base;
    }
    base.truncate(LONGEST - NUMBER);
    (2_u32..)
        .map(|n| format!("{base}-{n}"))
        .find(|name| !taken(name))
        .unwrap_or(base)
}

/// Whether containers of a runtime have names that people gave them.
fn is_named(runtime: &str) -> bool {
    ["lxc", "nspawn"].contains(&runtime)
}

/// A model's name without directories and extensions.
fn stem(path: &str) -> &str {
    let name = base_name(path.trim_end_matches('/'));
    let name = name
        .split_once('=')
        .map_or(name, |(_, value)| base_name(value));
    [".gguf", ".safetensors", ".onnx", ".bin", ".llamafile"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name)
}

/// Only what a workload's name can hold.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        let c = if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
            c
        } else {
            '-'
        };
        // Neither at the start nor twice in a row.
        if c.is_ascii_alphanumeric() || !(out.is_empty() || out.ends_with(['-', '_', '.'])) {
            out.push(c);
        }
        if out.len() == LONGEST {
            break;
        }
    }
    out.trim_end_matches(['-', '_', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::is_workload_name, detect::grouping::grouping};
    use proptest::prelude::*;

    #[test]
    fn names_read_well_and_are_unique() {
        let free = |_: &str| false;
        let at = |path: &str| grouping(path);
        let unit = at("/system.slice/system-llama.slice/llama@7.service");
        assert_eq!(
            name(Detector::LlamaCpp, "/x/llama-server", None, &unit, &free),
            "llama"
        );
        let host = Grouping::default();
        assert_eq!(
            name(
                Detector::NodeLlamaCpp,
                "/usr/bin/node",
                Some("/m/Qwen3 0.6B.gguf"),
                &host,
                &free
            ),
            "node-llama-cpp-qwen3-0.6b"
        );
        assert_eq!(
            name(Detector::Generic, "/opt/candle-app", None, &host, &free),
            "candle-app"
        );
        let taken = |n: &str| ["llama", "llama-2"].contains(&n);
        assert_eq!(
            name(Detector::LlamaCpp, "x", None, &unit, &taken),
            "llama-3"
        );
        let named = at("/lxc/assistant");
        assert_eq!(name(Detector::Vllm, "x", None, &named, &free), "assistant");
    }

    #[test]
    fn replicas_have_one_key() {
        let telling = ["/m/a.gguf".to_owned()];
        let of = |path: &str, exe: &str| key(Detector::LlamaCpp, exe, &telling, &grouping(path));
        let id = |c: &str| format!("/system.slice/docker-{}.scope", c.repeat(64));
        assert_eq!(of(&id("a"), "/x"), of(&id("b"), "/x"));
        assert_ne!(of(&id("a"), "/x"), of("/", "/x"));
        assert_ne!(of(&id("a"), "/x"), of(&id("a"), "/y"));
        let unit = |n: &str| format!("/system.slice/{n}.service");
        assert_eq!(of(&unit("l@1"), "/x"), of(&unit("l@2"), "/x"));
        assert_ne!(of(&unit("a"), "/x"), of(&unit("b"), "/x"));
    }

    proptest! {
        #[test]
        fn any_name_is_a_name(exe in ".{0,80}", model in ".{0,80}", unit in ".{0,80}") {
            let grouping = Grouping { unit: Some(format!("{unit}.service")), ..Grouping::default() };
            for grouping in [grouping, Grouping::default()] {
                let first = name(Detector::Generic, &exe, Some(&model), &grouping, &|_| false);
                prop_assert!(is_workload_name(&first), "{first:?}");
                let second = name(Detector::Generic, &exe, Some(&model), &grouping, &|n| n == first);
                prop_assert!(is_workload_name(&second) && second != first, "{second:?}");
            }
        }
    }
}
