//! Change family: names added, taken away and moved.

use monitor_common::{event::change::Action, path::permission::WRITE};

use super::{DecodeError, Reader, file, unknown};
use crate::observation::Fact;

pub(super) fn change(body: &mut Reader, flags: u8) -> Result<Fact, DecodeError> {
    let inode = (body.u64("device")?, body.u64("inode")?);
    body.u64("hash")?;
    let action = body.u8("action")?;
    let action = Action::from_u8(action).ok_or(unknown("action", action))?;
    body.array::<5>("zero")?;
    let length = body.u16("path_length")?;
    let path = body.take("path_length", length.into())?;
    Ok(Fact::Change {
        action,
        file: file(path, flags, inode, WRITE),
    })
}
