//! The rings: verdicts as soon as the kernel wakes us, observations on a timer.

use std::{os::fd::AsFd, time::Duration};

use aya::maps::{Map, MapData, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::KernelError;

/// Both rings. They belong to the thread that drains them.
pub struct Rings {
    verdicts: RingBuf<MapData>,
    observations: RingBuf<MapData>,
}

impl Rings {
    pub(super) fn new(verdicts: Map, observations: Map) -> Result<Self, KernelError> {
        Ok(Self {
            verdicts: RingBuf::try_from(verdicts).map_err(KernelError::map("VERDICTS"))?,
            observations: RingBuf::try_from(observations)
                .map_err(KernelError::map("OBSERVATIONS"))?,
        })
    }

    /// Waits for a verdict, at most `timeout`, and hands over everything in both rings: verdicts
    /// first, and again after every 256 observations, so that they are never starved. Returns how
    /// many events there were.
    pub fn next_batch(&mut self, timeout: Duration, take: &mut dyn FnMut(&[u8])) -> usize {
        let wait = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        // A signal or a failure only makes this round shorter.
        let _ = poll(
            &mut [PollFd::new(self.verdicts.as_fd(), PollFlags::POLLIN)],
            wait,
        );
        self.drain(take)
    }

    /// Hands over everything that is there now.
    pub fn drain(&mut self, take: &mut dyn FnMut(&[u8])) -> usize {
        let mut n = 0;
        loop {
            while let Some(event) = self.verdicts.next() {
                take(&event);
                n += 1;
            }
            let mut observed = 0;
            while observed < 256 {
                let Some(event) = self.observations.next() else {
                    break;
                };
                take(&event);
                observed += 1;
            }
            n += observed;
            if observed < 256 {
                return n;
            }
        }
    }
}
