//! Accept family: who calls a workload.

use std::net::Ipv6Addr;

use super::{ClassNames, DecodeError, Reader, scope};
use crate::observation::{Endpoint, Fact, Scope};

/// `peer_uid` of a peer whose user is not known.
const UNKNOWN: u32 = u32::MAX;

pub(super) fn accept(body: &mut Reader) -> Result<Fact, DecodeError> {
    let peer = Ipv6Addr::from(body.array::<16>("peer")?).to_canonical();
    let local = Ipv6Addr::from(body.array::<16>("local")?).to_canonical();
    body.u64("cookie")?;
    let peer_port = body.u16("peer_port")?;
    let local_port = body.u16("local_port")?;
    let uid = body.u32("peer_uid")?;
    let protocol = body.u8("protocol")?;
    let endpoint = |address, port| Endpoint {
        address,
        port,
        protocol,
    };
    Ok(Fact::Accept {
        peer: endpoint(peer, peer_port),
        local: endpoint(local, local_port),
        uid: (uid != UNKNOWN).then_some(uid),
    })
}

/// The fact, and the scope of the listener: a caller has none of its own.
pub(super) fn caller(
    body: &mut Reader,
    classes: &dyn ClassNames,
) -> Result<(Fact, Scope), DecodeError> {
    let address = Ipv6Addr::from(body.array::<16>("address")?).to_canonical();
    let program = (body.u64("device")?, body.u64("inode")?);
    let port = body.u16("port")?;
    let server = body.u16("server")?;
    let protocol = body.u8("protocol")?;
    let fact = Fact::Caller {
        endpoint: Endpoint {
            address,
            port,
            protocol,
        },
        program,
    };
    Ok((fact, scope(classes, "server", server)?))
}
