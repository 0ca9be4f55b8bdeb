//! Connect and send families: a destination.

use std::net::Ipv6Addr;

use super::{DecodeError, Reader};
use crate::observation::Endpoint;

pub(super) fn endpoint(body: &mut Reader) -> Result<Endpoint, DecodeError> {
    let address = Ipv6Addr::from(body.array::<16>("address")?).to_canonical();
    body.u64("cookie")?;
    let port = body.u16("port")?;
    let protocol = body.u8("protocol")?;
    match body.u8("ip")? {
        4 | 6 => Ok(Endpoint {
            address,
            port,
            protocol,
        }),
        other => Err(super::unknown("ip", other)),
    }
}
