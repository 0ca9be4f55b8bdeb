//! Which of the operator's rules a tier can only report on, told before anybody relies on them.
//!
//! Pure: configuration and tier in, sentences out. What a hook that is missing leaves open is told
//! by the hook's own state.

use std::collections::BTreeSet;

use super::Undeniable;
use crate::{
    config::Workload,
    workload::{role_from, role_name},
};

/// Something that is configured and only reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What, why, and what to do.
    pub text: String,
    /// A rule that the operator wrote down is not enforced: this is no healthy state.
    pub breaks_a_rule: bool,
}

/// What is only reported on a tier (`lsm` or `cgroup`). On `lsm` everything can be denied.
pub fn gaps(workloads: &[Workload], tier: &str) -> Vec<Gap> {
    if tier == "lsm" {
        return vec![];
    }
    workloads.iter().flat_map(of_workload).collect()
}

fn of_workload(workload: &Workload) -> Vec<Gap> {
    // Programs without a rule of their own run in role tool.
    let roles: BTreeSet<&str> = workload
        .processes
        .iter()
        .map(|p| p.role.as_str())
        .chain(["tool"])
        .filter(|word| role_from(word).is_some())
        .collect();
    roles
        .into_iter()
        .filter_map(|role| gap(workload, role))
        .collect()
}

fn gap(workload: &Workload, role: &str) -> Option<Gap> {
    let word = workload.undeniable.get(role);
    let said = word.and_then(|word| Undeniable::from_word(word));
    let who = format!(
        "workload {}, role {role}",
        crate::text::escape(workload.name.as_bytes())
    );
    let advice =
        format!("write undeniable.{role} = \"kill\", or boot a kernel with `bpf` in the lsm= list");
    match said {
        Some(Undeniable::Kill) => None,
        Some(Undeniable::Alert) => {
            let rules = &workload.deny;
            let written = [
                ("read", rules.read.len()),
                ("write", rules.write.len()),
                ("exec", rules.exec.len()),
            ];
            let lists: Vec<String> = written
                .iter()
                .filter(|(_, rules)| *rules > 0)
                .map(|(list, _)| format!("deny.{list}"))
                .collect();
            let (what, breaks_a_rule) = if lists.is_empty() {
                (
                    "files, programs and breaches of invariants".to_owned(),
                    false,
                )
            } else {
                (lists.join(" and "), true)
            };
            Some(Gap {
                text: format!(
                    "{who}: {what} cannot be denied without BPF LSM, and undeniable.{role} = \
                     \"alert\" has them reported, not stopped; {advice}"
                ),
                breaks_a_rule,
            })
        }
        None => {
            let role_value = role_from(role)?;
            (Undeniable::default_for(role_value) == Undeniable::Alert).then(|| Gap {
                text: format!(
                    "{who}: files that are merely unknown cannot be denied without BPF LSM, and a \
                     {} is not killed for them; {advice}",
                    role_name(role_value)
                ),
                breaks_a_rule: false,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn workloads(sections: &str) -> Vec<Workload> {
        let text = format!(
            "[[workload]]\nname = \"a\"\n{sections}\n[[workload.process]]\nrole = \"server\"\n\
             exe = \"/bin/x\"\n"
        );
        toml::from_str::<Config>(&text).unwrap().workloads
    }

    #[test]
    fn the_lsm_tier_denies_everything() {
        let all = workloads("[workload.undeniable]\nserver = \"alert\"\ntool = \"alert\"\n");
        assert_eq!(gaps(&all, "lsm"), []);
    }

    #[test]
    fn a_server_s_unknown_files_are_said_to_be_reported_only() {
        let found = gaps(&workloads(""), "cgroup");
        assert_eq!(found.len(), 1, "the tool is killed: {found:?}");
        assert!(found[0].text.contains("role server") && !found[0].breaks_a_rule);
        let killed = workloads("[workload.undeniable]\nserver = \"kill\"\n");
        assert_eq!(gaps(&killed, "cgroup"), []);
    }

    #[test]
    fn a_written_rule_that_is_only_reported_is_no_healthy_state() {
        let found = gaps(
            &workloads(
                "[workload.deny]\nread = [\"/srv/private/**\"]\nconnect = [\"10.0.0.1:1\"]\n\
                 [workload.undeniable]\nserver = \"alert\"\n",
            ),
            "cgroup",
        );
        assert_eq!(found.len(), 1);
        assert!(found[0].breaks_a_rule);
        let text = &found[0].text;
        assert!(
            text.contains("deny.read") && !text.contains("deny.connect") && text.contains("kill"),
            "{text}"
        );
    }
}
