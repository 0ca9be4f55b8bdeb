//! Odd calls as a fact: a call that is rare in a server, or calls that come too regularly. Not seen
//! by any hook: worked out from connects, hellos, requests, flows and answers.
//!
//! Knows words; what makes a call odd is in [`crate::baseline::destinations::calls`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{baseline::volume::beacon::Score, observation::Endpoint};

/// A call, or calls, that were not learned to be usual.
#[derive(Clone, Debug, PartialEq)]
pub struct OddCall {
    /// Where to.
    pub endpoint: Endpoint,
    /// In which way.
    pub what: Oddity,
    /// Server name of the TLS connection, escaped, where one was seen.
    pub name: Option<String>,
    /// Host and port that a proxy was asked for, escaped, for [`Oddity::UnlearnedHost`].
    pub host: Option<String>,
    /// The hosts most like it that were learned, best first, at most three.
    pub nearest: Vec<String>,
    /// Calls of this sort since it was last told, the one that is told included; at least 1.
    pub count: u64,
    /// How regular they are, for [`Oddity::Beacon`].
    pub score: Option<Score>,
}

/// In which way a call is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oddity {
    /// The address was in no answer that still counts.
    DirectAddress,
    /// The server name is none of the names that the address was given for.
    ServerNameDiffers,
    /// The server name is encrypted.
    ServerNameHidden,
    /// A name server that was not asked while it was learned.
    UnlearnedResolver,
    /// A name server that is asked where nobody can look on.
    EncryptedResolver,
    /// A destination that was first seen after learning is called regularly.
    Beacon,
    /// A declared proxy was asked for a host that was not learned.
    UnlearnedHost,
    /// A declared proxy was called, and the host behind it could not be seen.
    Blind,
}

impl Oddity {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::DirectAddress,
        Self::ServerNameDiffers,
        Self::ServerNameHidden,
        Self::UnlearnedResolver,
        Self::EncryptedResolver,
        Self::Beacon,
        Self::UnlearnedHost,
        Self::Blind,
    ];

    /// The word for it, as in alerts and documentation.
    pub const fn word(self) -> &'static str {
        match self {
            Self::DirectAddress => "direct-address",
            Self::ServerNameDiffers => "server-name-differs",
            Self::ServerNameHidden => "server-name-hidden",
            Self::UnlearnedResolver => "unlearned-resolver",
            Self::EncryptedResolver => "encrypted-resolver",
            Self::Beacon => "beacon",
            Self::UnlearnedHost => "unlearned-host",
            Self::Blind => "blind",
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_the_word_that_is_told() {
        for what in Oddity::ALL {
            assert_eq!(
                serde_json::to_string(&what).unwrap(),
                format!("\"{}\"", what.word())
            );
        }
    }
}
