//! Hooks for files that are attached with the first workload rather than at the start: on the
//! cgroup tier they cost every process something, and while nobody is guarded nobody is to pay.

use std::{collections::BTreeMap, fs::File};

use aya::{Ebpf, maps::Map};

use super::{
    Kernel, KernelError, StartOptions, attach, btf::KernelOffsets, preflight::Facts, selftest,
    table::TABLE,
};

/// What is needed to attach them.
pub(super) struct Late {
    pub object: Ebpf,
    pub options: StartOptions,
    pub facts: Facts,
    pub offsets: KernelOffsets,
    /// Programs refer to maps by descriptors, which have to be open when they are loaded.
    pub _maps: Vec<Map>,
}

impl Kernel {
    /// Attaches the hooks for files if they are not attached yet, and tries them.
    ///
    /// # Errors
    /// The cgroup mount is gone, a link cannot be pinned, or the maps cannot be used. A hook that
    /// cannot be attached is no error: it is in [`Self::hooks`] with its reason.
    pub fn watch_files(&mut self) -> Result<(), KernelError> {
        let Some(mut late) = self.late.take() else {
            return Ok(());
        };
        let cgroup = File::open(&late.facts.cgroup2).map_err(|e| KernelError::Feature {
            what: format!("{} cannot be opened: {e}", late.facts.cgroup2.display()),
            advice: "check the cgroup v2 mount".into(),
        })?;
        late.options.watch_files = true;
        let mut shared: BTreeMap<&str, Result<(), String>> = BTreeMap::new();
        for row in TABLE.iter().filter(|row| row.files) {
            let Some(status) = self.hooks.iter_mut().find(|s| s.id == row.hook) else {
                continue;
            };
            if status.attached || row.only.is_some_and(|t| t != self.tier) {
                continue;
            }
            status.expected = true;
            let obstacle = attach::obstacle(row, &late.options, &late.offsets, self.tier);
            let done = match (obstacle, shared.get(attach::program_name(row))) {
                (Some(why), _) => Err(why),
                (None, Some(done)) => done.clone(),
                (None, None) => match attach::attach_one(&mut late.object, row, &cgroup) {
                    Ok(link) => attach::keep(
                        attach::program_name(row),
                        link,
                        self.pins.as_ref(),
                        &mut self._links,
                    )
                    .map_err(|e| e.to_string()),
                    Err(why) => Err(why),
                },
            };
            if let Some(program) = row.attach.shared().filter(|_| done.is_ok()) {
                shared.insert(program, done.clone());
            }
            status.attached = done.is_ok();
            status.reason = done.err();
        }
        selftest::run(self)
    }
}
