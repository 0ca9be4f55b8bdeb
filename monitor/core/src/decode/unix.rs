//! Unix family: unix sockets as destinations.

use monitor_common::{event::unix::space, path::permission::CONNECT};

use super::{DecodeError, Reader, file, unknown};
use crate::observation::{Fact, UnixPeer};

pub(super) fn unix(body: &mut Reader, flags: u8) -> Result<Fact, DecodeError> {
    let inode = (body.u64("device")?, body.u64("inode")?);
    body.u64("hash")?;
    let place = body.u8("space")?;
    body.u8("socket")?;
    body.array::<4>("zero")?;
    let length = body.u16("name_length")?;
    let name = body.take("name_length", length.into())?;
    Ok(Fact::Unix(match place {
        space::PATH => UnixPeer::Path(file(name, flags, inode, CONNECT)),
        space::ABSTRACT => UnixPeer::Abstract(name.to_vec()),
        space::UNNAMED => UnixPeer::Unnamed,
        other => return Err(unknown("space", other)),
    }))
}
