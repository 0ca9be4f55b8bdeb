//! The local API: HTTP and JSON on a unix socket, versioned under `/v1`.
//!
//! Who may read is what the socket's mode says (0660). Who may change something is checked by the
//! credentials that the kernel gives for the peer: root, and the user that the daemon runs as.

mod feed;
pub mod found;
mod profile;
mod routes;
mod socket;
mod stream;
pub mod view;

use std::{collections::HashSet, fmt};

use axum::body::Bytes;
pub use feed::{Feed, Line};
pub use routes::router;
pub use socket::{Bound, bind, serve};
use tokio::sync::{broadcast, mpsc};

/// Who is at the other end of a connection, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User.
    pub uid: u32,
    /// Process.
    pub pid: u32,
}

/// Why a request is not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing.
    NotFound(String),
    /// The request makes no sense.
    Bad(String),
    /// The peer may not.
    Forbidden(String),
    /// It may, but not so.
    Conflict(String),
    /// The daemon failed.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(m)
            | Self::Bad(m)
            | Self::Forbidden(m)
            | Self::Conflict(m)
            | Self::Failed(m) => f.write_str(m),
        }
    }
}

/// What is asked of a list of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// At most so many of the latest.
    pub limit: usize,
    /// Of this workload only.
    pub workload: Option<String>,
    /// And those to come.
    pub follow: bool,
}

/// Lines that are there, and those to come.
#[derive(Debug)]
pub struct Answer {
    /// The latest, oldest first.
    pub lines: Vec<String>,
    /// Those to come, if asked for. What is in both is sent once.
    pub follow: Option<broadcast::Receiver<Line>>,
}

impl Answer {
    /// Lines that must not be sent a second time.
    fn sent(&self) -> HashSet<String> {
        match self.follow {
            Some(_) => self.lines.iter().cloned().collect(),
            None => HashSet::new(),
        }
    }
}

/// What the API shows and changes. All calls may take locks and ask the kernel.
pub trait Backend: Send + Sync + 'static {
    /// The daemon as a whole.
    fn status(&self) -> Result<view::Status, Refusal>;
    /// Every workload.
    fn workloads(&self) -> Result<Vec<view::Workload>, Refusal>;
    /// Every hook.
    fn hooks(&self) -> Result<Vec<view::Hook>, Refusal>;
    /// Recent events.
    fn events(&self, query: &Query) -> Result<Answer, Refusal>;
    /// Alerts.
    fn alerts(&self, query: &Query) -> Result<Answer, Refusal>;
    /// The alert whose id begins so.
    fn alert(&self, id: &str) -> Result<slmguard_core::alert::Alert, Refusal>;
    /// What was learned for a workload.
    fn baseline(&self, workload: &str) -> Result<Vec<view::BaselineEntry>, Refusal>;
    /// `learned` or `approved`, as a profile.
    fn profile(&self, workload: &str, which: &str) -> Result<view::Profile, Refusal>;
    /// How complete a baseline is.
    fn evidence(&self, workload: &str) -> Result<view::Standing, Refusal>;
    /// An operator says that a step of a workload's lifecycle does not apply.
    fn declare_step(
        &self,
        workload: &str,
        step: &str,
        reason: &str,
        peer: Peer,
    ) -> Result<view::Decided, Refusal>;
    /// An operator's decision about a baseline.
    fn order_baseline(
        &self,
        workload: &str,
        action: &str,
        order: &view::BaselineOrder,
        peer: Peer,
    ) -> Result<view::Decided, Refusal>;
    /// The search for workloads.
    fn search(&self) -> Result<view::Search, Refusal>;
    /// An operator's decision about a workload that was found, or about an agent.
    fn decide(
        &self,
        workload: &str,
        action: &str,
        decide: &view::Decide,
        peer: Peer,
    ) -> Result<view::Decided, Refusal>;
    /// The mode of a workload.
    fn mode(&self, workload: &str) -> Result<view::Mode, Refusal>;
    /// What a launcher has to know to start a program as this role of a workload.
    fn launch_plan(&self, workload: &str, role: &str) -> Result<view::LaunchPlan, Refusal>;
    /// Makes what the peer executes next a member.
    fn launch(&self, workload: &str, role: &str, peer: Peer) -> Result<view::Launched, Refusal>;
    /// Changes it.
    fn set_mode(
        &self,
        workload: &str,
        change: &view::ModeChange,
        peer: Peer,
    ) -> Result<view::Mode, Refusal>;
    /// Starts a recording; its lines come out of the receiver.
    fn record(
        &self,
        order: &view::RecordingOrder,
        peer: Peer,
    ) -> Result<mpsc::Receiver<Bytes>, Refusal>;
    /// Ends it, after everything that has happened up to now.
    fn end_recording(&self, reason: &str, peer: Peer) -> Result<(), Refusal>;
}

#[cfg(test)]
mod tests;
