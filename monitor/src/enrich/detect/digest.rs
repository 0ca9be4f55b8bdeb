//! Model files and programs known by digest and by what they say about themselves: worked out in the background,
//! one file at a time, at most a quarter of one processor, and remembered for as long as the file
//! is the same.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use slmguard_core::detect::model::{self, Description, Format};

use super::files::{self, FileId, ModelFile};

/// Bytes that are read at once.
const PORTION: usize = 1 << 20;
/// So many times as long as the work took, the thread rests.
const REST: u32 = 3;
/// Files that wait, and that are remembered.
const WAITING: usize = 64;
const REMEMBERED: usize = 4096;

/// What is known about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What it says about itself.
    pub description: Description,
    /// SHA-256 of all of it; `None` while it is being worked out.
    pub digest: Option<String>,
    /// Why there is none.
    pub failed: Option<String>,
}

#[derive(Debug)]
struct Job {
    id: FileId,
    /// Of a model; a program says nothing about itself.
    format: Option<Format>,
    file: File,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<FileId, Known>,
    queue: VecDeque<Job>,
}

/// The digests, and the queue of those to come.
#[derive(Debug, Default)]
pub struct Digests {
    state: Mutex<State>,
    more: Condvar,
}

impl Digests {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known about a file.
    pub fn known(&self, id: &FileId) -> Option<Known> {
        self.state().known.get(id).cloned()
    }

    /// Remembers what was known earlier.
    pub fn remember(&self, id: FileId, known: Known) {
        self.state().known.entry(id).or_insert(known);
    }

    /// Has a file worked on, unless that was done or is to be done already. A queue that is full
    /// refuses: whoever still uses the file asks again.
    pub fn want(&self, model: &ModelFile) {
        self.queue(model.id, Some(model.format), || model.open());
    }

    /// SHA-256 of a program, by the link of `/proc` that leads to it; `None` while it is being worked
    /// out, or where there is none.
    pub fn program(&self, link: &Path) -> Option<String> {
        let id = files::identify(link)?;
        if let Some(known) = self.known(&id) {
            return known.digest;
        }
        self.queue(id, None, || File::open(link).ok());
        None
    }

    fn queue(&self, id: FileId, format: Option<Format>, open: impl FnOnce() -> Option<File>) {
        {
            let state = self.state();
            let full = state.queue.len() >= WAITING;
            if full || state.known.contains_key(&id) {
                return;
            }
        }
        // Opened now: the process may be gone by the time it is worked on.
        let Some(file) = open() else {
            return;
        };
        let mut state = self.state();
        if state.known.len() >= REMEMBERED {
            state
                .known
                .retain(|_, k| k.digest.is_none() && k.failed.is_none());
        }
        state.known.insert(id, Known::default());
        state.queue.push_back(Job { id, format, file });
        drop(state);
        self.more.notify_one();
    }

    /// Works until told to stop.
    pub fn work(&self, stop: &AtomicBool) {
        const LOOK: Duration = Duration::from_millis(200);
        while !stop.load(Ordering::Relaxed) {
            let job = {
                let state = self.state();
                let (mut state, _) = self
                    .more
                    .wait_timeout_while(state, LOOK, |s| s.queue.is_empty())
                    .unwrap_or_else(PoisonError::into_inner);
                state.queue.pop_front()
            };
            if let Some(job) = job {
                self.examine(job, stop);
            }
        }
    }

    fn examine(&self, job: Job, stop: &AtomicBool) {
        let description = job
            .format
            .map_or_else(Description::default, |format| describe(&job, format));
        if let Some(known) = self.state().known.get_mut(&job.id) {
            known.description = description;
        }
        let result = digest(job.file, stop);
        if let Some(known) = self.state().known.get_mut(&job.id) {
            match result {
                Ok(digest) => known.digest = digest,
                Err(e) => known.failed = Some(e.to_string()),
            }
        }
    }
}

fn describe(job: &Job, format: Format) -> Description {
    let most = usize::try_from(job.id.size)
        .unwrap_or(usize::MAX)
        .min(model::DESCRIBED);
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match job.file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) | Err(_) => break,
            Ok(read) => filled += read,
        }
    }
    bytes.truncate(filled);
    model::describe(format, &bytes)
}

/// `None` if it was told to stop before the end.
fn digest(mut file: File, stop: &AtomicBool) -> std::io::Result<Option<String>> {
    let mut hash = Sha256::new();
    let mut portion = vec![0; PORTION];
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let read = file.read(&mut portion)?;
        if read == 0 {
            return Ok(Some(model::hex(&hash.finalize())));
        }
        hash.update(&portion[..read]);
        std::thread::sleep(began.elapsed() * REST);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{super::files::Place, *};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_is_examined_once_and_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        std::fs::write(&path, b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        let id = files::identify(&path).unwrap();
        assert_eq!(id.size, meta.size());
        let file = ModelFile {
            id,
            path: path.display().to_string(),
            format: Format::Gguf,
            place: Place::Link(path.clone()),
        };
        let digests = Digests::default();
        digests.want(&file);
        digests.want(&file);
        assert_eq!(digests.state().queue.len(), 1);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| digests.work(&stop));
            let deadline = Instant::now() + Duration::from_secs(20);
            while digests.known(&id).is_none_or(|k| k.digest.is_none()) {
                assert!(Instant::now() < deadline);
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
        let known = digests.known(&id).unwrap();
        let expected = model::hex(&Sha256::digest(std::fs::read(&path).unwrap()));
        assert_eq!(known.digest, Some(expected));
        assert_eq!(known.description.tensors, Some(1));
        assert_eq!(digests.program(&path), known.digest, "a file is a file");
        // Another file under that name is not taken for it.
        std::fs::write(&path, b"GGUF and something else").unwrap();
        assert!(file.open().is_none());
    }
}
