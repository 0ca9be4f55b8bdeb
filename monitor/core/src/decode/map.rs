//! Map family: files mapped into memory.

use monitor_common::{
    event::map::protection,
    path::permission::{EXEC, READ, WRITE},
};

use super::{DecodeError, Reader, file};
use crate::observation::Fact;

pub(super) fn map(body: &mut Reader, flags: u8) -> Result<Fact, DecodeError> {
    let inode = (body.u64("device")?, body.u64("inode")?);
    body.u64("hash")?;
    let size = body.u64("size")?;
    let protection = body.u8("protection")?;
    let shared = body.u8("shared")? != 0;
    body.array::<4>("zero")?;
    let length = body.u16("path_length")?;
    let path = body.take("path_length", length.into())?;
    let access = [
        (protection::READ, READ),
        (protection::WRITE, WRITE),
        (protection::EXEC, EXEC),
    ]
    .into_iter()
    .filter(|(bit, _)| protection & bit != 0)
    .fold(0, |bits, (_, permission)| bits | permission);
    Ok(Fact::Map {
        file: file(path, flags, inode, access),
        size,
        protection,
        shared,
    })
}
