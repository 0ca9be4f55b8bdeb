//! Why rules cannot become a policy.

use super::{endpoint_rule::RuleError, pattern::PatternError};

/// Why rules cannot become a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A path is not one.
    #[error("path `{rule}`: {reason}")]
    Path {
        /// The rule or the learned subject.
        rule: String,
        /// What is wrong with it.
        reason: PatternError,
    },
    /// A destination is not one.
    #[error("destination `{rule}`: {reason}")]
    Destination {
        /// The rule or the learned subject.
        rule: String,
        /// What is wrong with it.
        reason: RuleError,
    },
    /// A unix socket is neither a path nor an abstract name.
    #[error("unix socket `{0}`: write an absolute path, or `@` and an abstract name")]
    Unix(String),
    /// A facility is none.
    #[error("`{rule}` is not a facility; there are: {}", known.join(", "))]
    Facility {
        /// The rule.
        rule: String,
        /// What could be written.
        known: Vec<&'static str>,
    },
    /// More destinations than fit.
    #[error(
        "the policy needs more than {limit} destination entries; `{offender}` is the first that does not fit"
    )]
    TooManyDestinations {
        /// Entries that fit.
        limit: usize,
        /// First rule that does not fit.
        offender: String,
    },
    /// More names than fit.
    #[error("the policy needs {have} names of unix sockets, and {limit} fit; allow them by path")]
    TooManyNames {
        /// Names that fit.
        limit: usize,
        /// Names given.
        have: usize,
    },
    /// More rules about hosts than fit.
    #[error(
        "the policy needs {have} entries about hosts, and {limit} fit; allow networks by address, or \
         `*.name` for all hosts below one"
    )]
    TooManyHosts {
        /// Entries that fit.
        limit: usize,
        /// Entries needed.
        have: usize,
    },
    /// More path edges than fit, and wildcards are not to blame.
    #[error(
        "{patterns} paths need more than {budget} edges; replace some of them by a pattern with `*` or `**`"
    )]
    TooManyPaths {
        /// Edges that fit.
        budget: usize,
        /// Patterns given.
        patterns: usize,
    },
    /// Wildcards multiply each other.
    #[error(
        "the wildcards in these paths multiply each other beyond {budget} edges; write them with fewer `*` and `**` before the last component: {}",
        offenders.join(", ")
    )]
    Explosive {
        /// Edges that fit.
        budget: usize,
        /// The patterns that contribute most, in their text form.
        offenders: Vec<String>,
    },
    /// `**` in a pattern that is about other processes only.
    #[error("`{0}` is about other processes and cannot hold `**`")]
    OtherProcessRest(String),
    /// Two names have the same hash under this key.
    #[error(
        "the names `{first}` and `{second}` have the same hash under this key; draw another key"
    )]
    HashCollision {
        /// One.
        first: String,
        /// The other; `*` for the hash that is reserved.
        second: String,
    },
    /// No state numbers left.
    #[error("no state numbers are left behind {0}; start numbering again with fresh maps")]
    StatesExhausted(u32),
    /// The number is reserved.
    #[error("policy number {0} is reserved")]
    ReservedPolicy(u32),
}
