//! From one mode to another: what is allowed, and on what basis. Pure.

use monitor_common::class::Mode;
use slmguard_core::workload::{mode_from, mode_name};

use crate::store::{Basis, WorkloadState};

/// The word for the mode in which each family goes as far as evidence takes it.
pub const AUTO: &str = "auto";

/// The state that mode `auto` is kept as.
pub fn automatic(now: u64) -> WorkloadState {
    WorkloadState {
        mode: Mode::Learn,
        basis: Basis::Evidence,
        changed: now,
    }
}

/// Whether the mode is `auto`.
pub fn is_auto(state: &WorkloadState) -> bool {
    state.basis == Basis::Evidence
}

/// The word for the mode of a workload.
pub fn word(state: &WorkloadState) -> &'static str {
    if is_auto(state) {
        AUTO
    } else {
        mode_name(state.mode)
    }
}

/// What a workload starts with when it is seen for the first time; `None` if the word is no mode.
/// Who writes `enforce` into the configuration has declared it.
pub fn first_by_word(word: &str, now: u64) -> Option<WorkloadState> {
    match word {
        AUTO => Some(automatic(now)),
        word => Some(first(mode_from(word)?, now)),
    }
}

/// The same for a mode other than `auto`.
pub fn first(mode: Mode, now: u64) -> WorkloadState {
    let basis = if mode == Mode::Enforce {
        Basis::Declared
    } else {
        Basis::None
    };
    WorkloadState {
        mode,
        basis,
        changed: now,
    }
}

/// The state after a change, or why there is none.
pub fn change(
    workload: &str,
    current: WorkloadState,
    wanted: Mode,
    declare: bool,
    now: u64,
) -> Result<WorkloadState, String> {
    // What evidence took it to was never approved as a whole.
    let current = if is_auto(&current) {
        first(Mode::Learn, current.changed)
    } else {
        current
    };
    let basis = match wanted {
        // What is learned from now on nobody has approved.
        Mode::Learn => Basis::None,
        _ if declare => Basis::Declared,
        // What was approved has not changed since: outside learn mode nothing is learned.
        _ => current.basis,
    };
    if wanted == Mode::Enforce && basis == Basis::None {
        return Err(format!(
            "{workload} cannot enforce yet: there is no evidence that what was learned is complete. \
             Look at it with `slmguard baseline show {workload}`; if you approve of it, use \
             `slmguard mode {workload} enforce --declare --reason TEXT`"
        ));
    }
    let changed = if current.mode == wanted && current.basis == basis {
        current.changed
    } else {
        now
    };
    Ok(WorkloadState {
        mode: wanted,
        basis,
        changed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(mode: Mode, basis: Basis) -> WorkloadState {
        WorkloadState {
            mode,
            basis,
            changed: 1,
        }
    }

    #[test]
    fn enforcing_needs_a_basis() {
        let learning = state(Mode::Learn, Basis::None);
        let refusal = change("a", learning, Mode::Enforce, false, 2).unwrap_err();
        assert!(
            refusal.contains("baseline show a") && refusal.contains("--declare"),
            "{refusal}"
        );
        let declared = change("a", learning, Mode::Enforce, true, 2).unwrap();
        assert_eq!(
            declared,
            WorkloadState {
                mode: Mode::Enforce,
                basis: Basis::Declared,
                changed: 2
            }
        );
    }

    #[test]
    fn an_approval_lasts_until_something_is_learned_again() {
        let enforcing = state(Mode::Enforce, Basis::Declared);
        let monitoring = change("a", enforcing, Mode::Monitor, false, 2).unwrap();
        assert_eq!(monitoring.basis, Basis::Declared);
        assert!(change("a", monitoring, Mode::Enforce, false, 3).is_ok());
        let learning = change("a", monitoring, Mode::Learn, true, 3).unwrap();
        assert_eq!(learning.basis, Basis::None);
        let monitoring = change("a", learning, Mode::Monitor, false, 4).unwrap();
        assert!(change("a", monitoring, Mode::Enforce, false, 5).is_err());
    }

    #[test]
    fn no_change_keeps_its_date() {
        let learning = state(Mode::Learn, Basis::None);
        assert_eq!(
            change("a", learning, Mode::Learn, false, 9)
                .unwrap()
                .changed,
            1
        );
    }

    #[test]
    fn a_configuration_that_enforces_is_a_declaration() {
        assert_eq!(first(Mode::Enforce, 5).basis, Basis::Declared);
        assert_eq!(first(Mode::Monitor, 5).basis, Basis::None);
    }
}
