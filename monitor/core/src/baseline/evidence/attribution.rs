//! Attribution: the names of episodes, and what is said of something that belongs to one.
//!
//! Values only; [`super::episode`] hands them out and [`super::incidence`] counts by them.

use serde::{Deserialize, Serialize};

use crate::observation::Scope;

/// Bits of an id that number the episodes of one host.
const NUMBER_BITS: u32 = 48;

/// An episode. Those of one host are numbered in the order in which they began; the host stands in
/// the upper 16 bits, so that episodes of different hosts are never the same.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EpisodeId(u64);

impl EpisodeId {
    /// No episode.
    pub const NONE: Self = Self(0);

    /// The `number`th episode of a host; numbers begin at 1.
    pub const fn new(host: u16, number: u64) -> Self {
        Self((host as u64) << NUMBER_BITS | number & ((1 << NUMBER_BITS) - 1))
    }
}

/// What an episode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something that came in.
    Request,
    /// The life of a tool process and its descendants.
    ToolLife,
    /// 60 s of background work.
    Slot,
}

/// Which episode something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// The episode, or the oldest of those that it may be.
    pub episode: EpisodeId,
    /// The newest of those that it may be; the same where there is no doubt.
    pub newest: EpisodeId,
    /// What it is.
    pub kind: Kind,
    /// One of that many, at least; 1 where there is no doubt.
    pub of: u16,
}

impl Attribution {
    /// No doubt.
    pub const fn exact(episode: EpisodeId, kind: Kind) -> Self {
        Self {
            episode,
            newest: episode,
            kind,
            of: 1,
        }
    }
}

/// Episodes that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What they were.
    pub kind: Kind,
    /// How many: requests that the kernel only counted are told together.
    pub count: u64,
    /// Scopes that were active in them.
    pub scopes: Vec<Scope>,
}
