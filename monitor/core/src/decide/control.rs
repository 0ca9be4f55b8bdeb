//! The control word of a class: which mode applies to which family, and what replaces a denial
//! where the tier cannot deny.

use monitor_common::class::{Control, FAMILIES, Family, Mode, Role};

/// A mode for each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Modes([Mode; FAMILIES]);

impl Modes {
    /// One mode for every family.
    pub const fn all(mode: Mode) -> Self {
        Self([mode; FAMILIES])
    }
    /// The same with another mode for one family.
    pub const fn with(mut self, family: Family, mode: Mode) -> Self {
        self.0[family as usize] = mode;
        self
    }
    /// Mode of a family.
    pub const fn get(&self, family: Family) -> Mode {
        self.0[family as usize]
    }
}

/// What happens where the tier cannot deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undeniable {
    /// The process is killed.
    Kill,
    /// The operator is told.
    Alert,
}

impl Undeniable {
    /// The value for a word of the configuration.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "kill" => Some(Self::Kill),
            "alert" => Some(Self::Alert),
            _ => None,
        }
    }

    /// What happens on a deviation where the operator says nothing: killing is dear, so only what
    /// acts for a model is killed for being merely unknown.
    pub const fn default_for(role: Role) -> Self {
        match role {
            Role::Tool | Role::Agent | Role::Shell => Self::Kill,
            Role::Server | Role::Loader | Role::Sidecar => Self::Alert,
        }
    }
}

/// The control word of a class. `undeniable` is what the operator says about the role: `alert`
/// holds for invariants and programs too; without a word these always kill.
pub fn control(policy: u32, modes: Modes, role: Role, undeniable: Option<Undeniable>) -> Control {
    let deviation = undeniable.unwrap_or(Undeniable::default_for(role));
    let otherwise = undeniable.unwrap_or(Undeniable::Kill);
    let mut flags = 0;
    if deviation == Undeniable::Kill {
        flags |= Control::KILL_DEVIATION;
    }
    if otherwise == Undeniable::Kill {
        flags |= Control::KILL_INVARIANT | Control::KILL_EXEC;
    }
    Family::ALL
        .into_iter()
        .fold(Control::new(policy, Mode::Learn, flags), |word, family| {
            word.with_mode(family, modes.get(family))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kills(role: Role, undeniable: Option<Undeniable>) -> (bool, bool) {
        let word = control(1, Modes::all(Mode::Enforce), role, undeniable);
        (
            word.has(Control::KILL_DEVIATION),
            word.has(Control::KILL_INVARIANT),
        )
    }

    #[test]
    fn by_default_a_server_is_killed_for_invariants_and_programs_only() {
        let word = control(1, Modes::all(Mode::Enforce), Role::Server, None);
        assert!(word.has(Control::KILL_EXEC));
        assert_eq!(kills(Role::Server, None), (false, true));
        assert_eq!(kills(Role::Agent, None), (true, true));
        assert_eq!(kills(Role::Tool, None), (true, true));
    }

    #[test]
    fn the_operators_word_holds_for_both() {
        assert_eq!(kills(Role::Server, Some(Undeniable::Kill)), (true, true));
        assert_eq!(kills(Role::Agent, Some(Undeniable::Alert)), (false, false));
    }

    #[test]
    fn each_family_keeps_its_mode() {
        let modes = Modes::all(Mode::Monitor).with(Family::Exec, Mode::Enforce);
        let word = control(42, modes, Role::Server, None);
        assert_eq!(word.policy(), 42);
        assert_eq!(word.mode_bits(Family::Read), Mode::Monitor as u8);
        assert_eq!(word.mode_bits(Family::Exec), Mode::Enforce as u8);
    }
}
