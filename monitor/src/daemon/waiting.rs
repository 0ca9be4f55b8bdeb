//! Alerts that the store cannot take for now (a full disk): kept in memory up to a bound, the
//! earliest first, because they tell how it began. What finds no room is counted, never forgotten.

use std::time::{Duration, Instant};

use super::engine::{NewAlert, SharedEngine};

/// Bytes of alerts that wait in memory.
pub const ROOM: usize = 16 << 20;
/// How long a store that refused is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// Alerts per visit to the store.
const PORTION: usize = 512;

/// The alerts, in the order in which they came.
#[derive(Debug, Default)]
pub struct Waiting {
    alerts: Vec<NewAlert>,
    bytes: usize,
    lost: u64,
    refused: Option<Instant>,
}

impl Waiting {
    /// Takes an alert in, or counts it as lost.
    pub fn push(&mut self, alert: NewAlert) {
        let size = alert.stored.body.len();
        if self.bytes + size > ROOM {
            self.lost += 1;
            return;
        }
        self.bytes += size;
        self.alerts.push(alert);
    }

    /// Hands on what waits, unless the store refused a moment ago.
    pub fn store(&mut self, engine: &SharedEngine) {
        if self.refused.is_some_and(|at| at.elapsed() < PAUSE) {
            return self.report(engine);
        }
        while !self.alerts.is_empty() {
            let portion = self.alerts.len().min(PORTION);
            match engine.store_alerts(&self.alerts[..portion]) {
                Ok(()) => {
                    self.bytes -= self.alerts[..portion]
                        .iter()
                        .map(|a| a.stored.body.len())
                        .sum::<usize>();
                    self.alerts.drain(..portion);
                    self.refused = None;
                    engine.problem("store", None);
                }
                Err(e) => {
                    self.refused = Some(Instant::now());
                    let rest = if self.lost == 0 {
                        "they wait in memory, up to 16 MiB"
                    } else {
                        "memory has no room for more either, and alerts are lost \
                         (slmguard_alerts_lost_total)"
                    };
                    let message = format!("alerts cannot be stored: {e}; {rest}");
                    engine.problem("store", Some(message));
                    break;
                }
            }
        }
        self.report(engine);
    }

    fn report(&mut self, engine: &SharedEngine) {
        engine.metrics.alerts_waiting(self.alerts.len(), self.lost);
    }

    /// The daemon ends: what could not be stored is told to the log, the last place there is.
    pub fn give_up(&self) {
        for alert in &self.alerts {
            tracing::error!("an alert that could not be stored: {}", alert.stored.body);
        }
        if self.lost > 0 {
            tracing::error!(
                "{} alerts were lost: neither disk nor memory had room",
                self.lost
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredAlert;
    use slmguard_core::alert::Severity;

    fn alert(size: usize) -> NewAlert {
        NewAlert {
            stored: StoredAlert {
                id: "a".into(),
                workload: "w".into(),
                body: "x".repeat(size),
            },
            kind: "open".into(),
            severity: Severity::High,
        }
    }

    #[test]
    fn the_earliest_are_kept_and_the_rest_is_counted() {
        let mut waiting = Waiting::default();
        for _ in 0..20 {
            waiting.push(alert(1 << 20));
        }
        assert_eq!((waiting.alerts.len(), waiting.lost), (16, 4));
        waiting.push(alert(0));
        assert_eq!(waiting.alerts.len(), 17, "what still fits is kept");
    }
}
