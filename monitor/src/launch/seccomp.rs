//! seccomp, installed: a plan's rules about system calls become filters for this processor.
//!
//! Two filters, because one has one answer only. The first answers ENOSYS to everything but the
//! calls that this version knows, x32's among them; the second refuses. Both end a process that
//! makes calls of another architecture (32-bit).

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use slmguard_core::decide::sandbox::calls::{Answer, CallRule, When};
use syscalls::{Sysno, SysnoSet};

use super::missing;
use crate::exit::Failure;

const WHAT: &str = "seccomp";

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Filters that are ready.
pub struct Filters([BpfProgram; 2]);

/// Compiles filters.
pub fn compile(rules: &[CallRule]) -> Result<Filters, Failure> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| missing(WHAT, e))?;
    let unknown = |call: &Sysno| {
        rules
            .iter()
            .any(|rule| rule.call == call.name() && rule.answer == Answer::Unknown)
    };
    let known: Rules = SysnoSet::all()
        .iter()
        .filter(|call| !unknown(call))
        .map(|call| (i64::from(call.id()), vec![]))
        .collect();
    let refused = refused(rules).map_err(|e| missing(WHAT, e))?;
    let filter = |rules, otherwise, matched| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(rules, otherwise, matched, arch)?.try_into()
    };
    let errno = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    let filters = [
        filter(known, errno(libc::ENOSYS), SeccompAction::Allow),
        filter(refused, SeccompAction::Allow, errno(libc::EPERM)),
    ];
    let [known, refused] = filters.map(|f| f.map_err(|e| missing(WHAT, e)));
    Ok(Filters([known?, refused?]))
}

/// Calls that this processor does not have need no rule.
fn refused(rules: &[CallRule]) -> Result<Rules, BackendError> {
    let mut chains: BTreeMap<i64, Option<Vec<SeccompRule>>> = BTreeMap::new();
    for rule in rules.iter().filter(|r| r.answer == Answer::Refused) {
        let Ok(call) = rule.call.parse::<Sysno>() else {
            continue;
        };
        let chain = chains
            .entry(i64::from(call.id()))
            .or_insert_with(|| Some(vec![]));
        if rule.when.is_empty() {
            // Always, whatever other rules say.
            *chain = None;
        } else if let Some(chain) = chain {
            chain.push(SeccompRule::new(
                rule.when
                    .iter()
                    .map(|when| condition(*when))
                    .collect::<Result<_, _>>()?,
            )?);
        }
    }
    Ok(chains
        .into_iter()
        .map(|(call, chain)| (call, chain.unwrap_or_default()))
        .collect())
}

fn condition(when: When) -> Result<SeccompCondition, BackendError> {
    let (at, operator, value) = match when {
        When::Is(at, value) => (at, SeccompCmpOp::Eq, value),
        When::IsNot(at, value) => (at, SeccompCmpOp::Ne, value),
        When::Bits(at, mask, value) => (at, SeccompCmpOp::MaskedEq(u64::from(mask)), value),
    };
    SeccompCondition::new(at, SeccompCmpArgLen::Dword, operator, u64::from(value))
}

impl Filters {
    /// Holds this thread, and what it starts, to the filters.
    pub fn enter(&self) -> Result<(), Failure> {
        self.0
            .iter()
            .try_for_each(|filter| seccompiler::apply_filter(filter))
            .map_err(|e| missing(WHAT, e))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use monitor_common::class::Mode;
    use slmguard_core::decide::{Modes, sandbox::calls};

    use super::*;

    #[test]
    fn every_plan_compiles_and_every_call_is_known() {
        for mode in [Mode::Monitor, Mode::Enforce] {
            let rules = calls::rules(Modes::all(mode), 0, &mut BTreeSet::new());
            let filters = compile(&rules).unwrap();
            assert!(filters.0.iter().all(|f| f.len() < 4096));
            for rule in &rules {
                assert!(rule.call.parse::<Sysno>().is_ok(), "{}", rule.call);
            }
        }
    }

    #[test]
    fn a_rule_without_conditions_is_not_narrowed_by_another() {
        let rule = |when: &[When]| CallRule {
            call: "ptrace",
            when: when.to_vec(),
            answer: Answer::Refused,
            why: "a test",
        };
        for rules in [
            [rule(&[]), rule(&[When::Is(0, 1)])],
            [rule(&[When::Is(0, 1)]), rule(&[])],
        ] {
            assert_eq!(refused(&rules).unwrap()[&libc::SYS_ptrace], vec![]);
        }
    }
}
