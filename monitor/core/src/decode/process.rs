//! Process family: fork, exit, change of phase.

use super::{ClassNames, DecodeError, Reader, scope};
use crate::observation::{Fact, ProcessKey};

pub(super) fn fork(body: &mut Reader) -> Result<Fact, DecodeError> {
    let start_time = body.u64("child_start_time")?;
    let pid = body.u32("child")?;
    Ok(Fact::Fork {
        child: ProcessKey { pid, start_time },
    })
}

pub(super) fn exit(body: &mut Reader) -> Result<Fact, DecodeError> {
    Ok(Fact::Exit {
        status: body.u32("status")?,
    })
}

pub(super) fn phase(body: &mut Reader, classes: &dyn ClassNames) -> Result<Fact, DecodeError> {
    let port = body.u16("port")?;
    let after = body.u16("after")?;
    Ok(Fact::Phase {
        port,
        after: scope(classes, "after", after)?,
    })
}
