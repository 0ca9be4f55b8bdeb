//! "Everything that had happened when I asked": who asks waits until all events that were in the
//! rings have gone through the pipeline.
//!
//! The ring thread notices the request before it drains, and sends a mark behind what it drained;
//! when the pipeline meets the mark, everything before it is done.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Requests and how far they were met.
#[derive(Debug, Default)]
pub struct Barrier {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    requested: u64,
    reached: u64,
    closed: bool,
}

impl Barrier {
    /// Waits; false if it took too long or the pipeline has ended.
    pub fn wait(&self, patience: Duration) -> bool {
        let mut state = self.lock();
        state.requested += 1;
        let mine = state.requested;
        let deadline = Instant::now() + patience;
        while state.reached < mine && !state.closed {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            (state, _) = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.reached >= mine
    }

    /// The latest request: to be read before draining, and sent as a mark behind what was drained.
    pub fn requested(&self) -> u64 {
        self.lock().requested
    }

    /// Everything before the mark is done.
    pub fn reached(&self, mark: u64) {
        self.lock().reached = mark;
        self.changed.notify_all();
    }

    /// Nothing comes any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_met_by_a_mark_that_was_sent_after_it() {
        let barrier = Barrier::default();
        assert!(!barrier.wait(Duration::ZERO));
        assert_eq!(barrier.requested(), 1);
        barrier.reached(1);
        std::thread::scope(|threads| {
            let waiter = threads.spawn(|| barrier.wait(Duration::from_secs(30)));
            while barrier.requested() < 2 {
                std::thread::yield_now();
            }
            barrier.reached(barrier.requested());
            assert!(waiter.join().unwrap());
        });
    }

    #[test]
    fn nobody_waits_for_a_pipeline_that_has_ended() {
        let barrier = Barrier::default();
        barrier.close();
        assert!(!barrier.wait(Duration::from_secs(30)));
    }
}
