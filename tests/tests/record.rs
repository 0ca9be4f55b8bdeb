//! Recordings: what the daemon saw, taken along and decided again.

use std::path::Path;

use anyhow::Result;
use scene::probe::Probe;
use scene::recording::Recording;
use scene::trial::Trial;
