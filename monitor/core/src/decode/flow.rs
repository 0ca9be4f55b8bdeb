//! Flow family: what a connection carried.

use std::net::Ipv6Addr;

use monitor_common::event::flow::direction;

use super::{DecodeError, Reader, unknown};
use crate::observation::{Endpoint, Fact, Flow};

/// `ended` is the header's time, in the kernel's clock.
pub(super) fn flow(body: &mut Reader, ended: u64) -> Result<Fact, DecodeError> {
    let address = Ipv6Addr::from(body.array::<16>("address")?).to_canonical();
    let cookie = body.u64("cookie")?;
    let sent = body.u64("sent")?;
    let received = body.u64("received")?;
    let start = body.u64("start")?;
    let port = body.u16("port")?;
    let local_port = body.u16("local_port")?;
    let protocol = body.u8("protocol")?;
    body.u8("ip")?;
    let inbound = match body.u8("direction")? {
        direction::OUT => false,
        direction::IN => true,
        other => return Err(unknown("direction", other)),
    };
    Ok(Fact::Flow(Flow {
        peer: Endpoint {
            address,
            port,
            protocol,
        },
        local_port,
        inbound,
        sent,
        received,
        duration: ended.saturating_sub(start),
        cookie,
    }))
}
