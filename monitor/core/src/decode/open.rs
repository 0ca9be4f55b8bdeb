//! Open family: a file opened by path.

use super::{DecodeError, Reader, file};
use crate::observation::Fact;

pub(super) fn open(body: &mut Reader, flags: u8) -> Result<Fact, DecodeError> {
    let inode = (body.u64("device")?, body.u64("inode")?);
    body.u64("hash")?;
    let access = body.u8("access")?;
    body.array::<5>("zero")?;
    let length = body.u16("path_length")?;
    let path = body.take("path_length", length.into())?;
    Ok(Fact::Open(file(path, flags, inode, access)))
}
