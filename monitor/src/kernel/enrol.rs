//! Enrolment rules in the kernel.

use std::collections::BTreeMap;

use monitor_common::{
    enrol::{ArgumentKey, ExecutableKey, ExecutableRules, MAX_ARGS, SLOTS},
    hash,
    limits::{MAX_ARGUMENTS, MAX_EXECUTABLES},
};

use super::{EnrolRule, Kernel, KernelError, plain::Plain};

/// What goes into the two maps.
type Tables = (
    BTreeMap<ExecutableKey, ExecutableRules>,
    BTreeMap<ArgumentKey, u64>,
);

/// Lays rules out as the kernel looks them up.
///
/// # Errors
/// More rules for one executable, or more arguments in one rule, than fit.
fn tables(rules: &[EnrolRule]) -> Result<Tables, KernelError> {
    let mut executables: BTreeMap<ExecutableKey, (ExecutableRules, usize)> = BTreeMap::new();
    let mut arguments: BTreeMap<ArgumentKey, u64> = BTreeMap::new();
    for rule in rules {
        let key = rule.executable.unwrap_or_default();
        let (slots, used) = executables
            .entry(key)
            .or_insert((ExecutableRules::EMPTY, 0));
        if *used == SLOTS {
            return Err(KernelError::Full {
                what: "process rules for one executable",
                have: rules
                    .iter()
                    .filter(|r| r.executable == rule.executable)
                    .count(),
                limit: SLOTS,
                advice: "tell the processes apart by cgroup or unit instead",
            });
        }
        if rule.arguments.len() > MAX_ARGS {
            return Err(KernelError::Full {
                what: "arguments in one process rule",
                have: rule.arguments.len(),
                limit: MAX_ARGS,
                advice: "name only the arguments that tell the process apart",
            });
        }
        slots.class[*used] = rule.class;
        slots.cgroup[*used] = rule.cgroup.unwrap_or(0);
        slots.user[*used] = rule.user.unwrap_or(u32::MAX);
        for (i, argument) in rule.arguments.iter().enumerate() {
            slots.arguments[*used] |= 1 << i;
            let key = ArgumentKey {
                executable: key,
                hash: hash::argument(argument.as_bytes()),
            };
            *arguments.entry(key).or_default() |= 1 << (8 * *used + i);
        }
        *used += 1;
    }
    Ok((
        executables
            .into_iter()
            .map(|(k, (rules, _))| (k, rules))
            .collect(),
        arguments,
    ))
}

impl Kernel {
    /// Replaces all enrolment rules. Arguments are written before the executables that need them,
    /// and removed after.
    ///
    /// # Errors
    /// They do not fit; the earlier ones stay as far as they were not yet replaced.
    pub fn set_enrolment(&mut self, rules: &[EnrolRule]) -> Result<(), KernelError> {
        let (executables, arguments) = tables(rules)?;
        let full = |what, have, limit: u32| KernelError::Full {
            what,
            have,
            limit: limit as usize,
            advice: "guard fewer workloads with one daemon",
        };
        if executables.len() > MAX_EXECUTABLES as usize {
            return Err(full("executables", executables.len(), MAX_EXECUTABLES));
        }
        if arguments.len() > MAX_ARGUMENTS as usize {
            return Err(full("arguments", arguments.len(), MAX_ARGUMENTS));
        }
        for (key, bits) in &arguments {
            self.arguments
                .insert(Plain(*key), bits, 0)
                .map_err(KernelError::map("ARGUMENTS"))?;
        }
        for (key, rules) in &executables {
            self.executables
                .insert(Plain(*key), Plain(*rules), 0)
                .map_err(KernelError::map("EXECUTABLES"))?;
        }
        let old: Vec<ExecutableKey> = self.executables.keys().flatten().map(|k| k.0).collect();
        for key in old.iter().filter(|k| !executables.contains_key(k)) {
            self.executables
                .remove(&Plain(*key))
                .map_err(KernelError::map("EXECUTABLES"))?;
        }
        let old: Vec<ArgumentKey> = self.arguments.keys().flatten().map(|k| k.0).collect();
        for key in old.iter().filter(|k| !arguments.contains_key(k)) {
            self.arguments
                .remove(&Plain(*key))
                .map_err(KernelError::map("ARGUMENTS"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(inode: u64, arguments: &[&str], class: u16) -> EnrolRule {
        EnrolRule {
            executable: Some(ExecutableKey { device: 1, inode }),
            arguments: arguments.iter().map(|s| (*s).to_string()).collect(),
            cgroup: None,
            user: None,
            class,
        }
    }

    #[test]
    fn two_rules_of_one_executable_share_its_entry_and_an_argument() {
        let (executables, arguments) =
            tables(&[rule(7, &["serve"], 3), rule(7, &["-m", "serve"], 4)]).unwrap();
        let rules = executables[&ExecutableKey {
            device: 1,
            inode: 7,
        }];
        assert_eq!(rules.class[..3], [3, 4, 0]);
        assert_eq!(rules.arguments[..2], [0b1, 0b11]);
        let key = ArgumentKey {
            executable: ExecutableKey {
                device: 1,
                inode: 7,
            },
            hash: hash::argument(b"serve"),
        };
        assert_eq!(arguments[&key], 1 | 1 << 9);
    }

    #[test]
    fn a_ninth_rule_for_one_executable_is_refused() {
        let rules: Vec<EnrolRule> = (0..9).map(|i| rule(7, &[], 3 + i)).collect();
        assert!(
            tables(&rules)
                .unwrap_err()
                .to_string()
                .contains("at most 8")
        );
    }
}
