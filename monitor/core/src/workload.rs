//! Names of roles, phases, modes, families, verdicts and hooks as they stand in config, CLI, alerts and metrics.

use monitor_common::{
    class::{Family, Mode, Phase, Role},
    event::Verdict,
    hook::Hook,
};

macro_rules! names {
    ($to:ident, $from:ident, $t:ident { $($v:ident => $name:literal),+ $(,)? }) => {
        #[doc = concat!("The word for a ", stringify!($t), ".")]
        pub const fn $to(v: $t) -> &'static str {
            match v { $($t::$v => $name),+ }
        }
        #[doc = concat!("The ", stringify!($t), " for a word.")]
        pub fn $from(word: &str) -> Option<$t> {
            match word { $($name => Some($t::$v),)+ _ => None }
        }
    };
}

names!(role_name, role_from, Role {
    Server => "server", Loader => "loader", Tool => "tool",
    Sidecar => "sidecar", Shell => "shell", Agent => "agent",
});
names!(phase_name, phase_from, Phase {
    Start => "start", Load => "load", Serve => "serve", Reload => "reload", Stop => "stop",
});
names!(mode_name, mode_from, Mode {
    Learn => "learn", Monitor => "monitor", Enforce => "enforce",
});
names!(family_name, family_from, Family {
    Destination => "destination", Read => "read", Write => "write", Exec => "exec",
    Unix => "unix", Listen => "listen", Name => "name", Facility => "facility",
});

/// Roles, in the order in which they are listed to people.
pub const ROLES: [Role; 6] = [
    Role::Server,
    Role::Agent,
    Role::Tool,
    Role::Shell,
    Role::Sidecar,
    Role::Loader,
];
/// Phases that this version tells apart.
pub const PHASES: [Phase; 2] = [Phase::Start, Phase::Serve];

names!(verdict_name, verdict_from, Verdict {
    Known => "known", New => "new", WouldBlock => "would_block",
    Blocked => "blocked", Killed => "killed", Audited => "audited",
});
/// The word for a [`Hook`].
pub const fn hook_name(v: Hook) -> &'static str {
    v.name()
}

/// The [`Hook`] for a word.
pub fn hook_from(word: &str) -> Option<Hook> {
    Hook::from_name(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_leads_back() {
        for hook in Hook::ALL {
            assert_eq!(hook_from(hook_name(hook)), Some(hook));
        }
        for role in ROLES {
            assert_eq!(role_from(role_name(role)), Some(role));
        }
        for family in Family::ALL {
            assert_eq!(family_from(family_name(family)), Some(family));
        }
        assert_eq!(mode_from("off"), None);
    }
}
