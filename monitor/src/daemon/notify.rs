//! Tells the service manager how far we are: the protocol of `sd_notify`, which is one datagram.

use std::{env, io, os::unix::net::UnixDatagram};

/// Sends a state such as `READY=1`. Without a service manager nothing happens.
pub fn send(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(e) = send_to(&socket.to_string_lossy(), state) {
        tracing::warn!("cannot tell the service manager {state}: {e}");
    }
}

fn send_to(socket: &str, state: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_arrives_on_both_kinds_of_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        send_to(path.to_str().unwrap(), "READY=1").unwrap();
        let mut buffer = [0; 32];
        let n = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"READY=1");
        assert!(send_to("@no-such-slmguard-socket", "READY=1").is_err());
    }
}
