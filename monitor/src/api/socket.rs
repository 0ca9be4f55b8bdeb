//! The unix socket: made with the right modes, taken over from a daemon that died, never from one
//! that lives, and removed at the end.

use std::{
    fs::{self, DirBuilder, Permissions},
    future::Future,
    io,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
            net::UnixListener as StdListener,
        },
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use axum::{Router, extract::connect_info::Connected, serve::IncomingStream};
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
};
use tokio::net::UnixListener;

use super::Peer;

/// A socket that is bound; its file goes when this is dropped.
#[derive(Debug)]
pub struct Bound {
    listener: Option<StdListener>,
    path: PathBuf,
    inode: u64,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Only our own: a later daemon may have put its own socket there.
        if fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds the socket, mode 0660, and makes its directory where it is missing.
pub fn bind(path: &Path) -> anyhow::Result<Bound> {
    let what = || format!("cannot make the API socket {}", path.display());
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .with_context(what)?;
    }
    clear_the_way(path).with_context(what)?;
    let listener = StdListener::bind(path).with_context(what)?;
    fs::set_permissions(path, Permissions::from_mode(0o660)).with_context(what)?;
    listener.set_nonblocking(true).with_context(what)?;
    let inode = fs::symlink_metadata(path).with_context(what)?.ino();
    Ok(Bound {
        listener: Some(listener),
        path: path.to_owned(),
        inode,
    })
}

/// Removes the socket of a daemon that is gone.
fn clear_the_way(path: &Path) -> anyhow::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !meta.file_type().is_socket() {
        bail!("something that is not a socket is there; move it away or set another socket");
    }
    match try_connect(path) {
        // Nobody takes its connections, but somebody holds it: a daemon that is stopped.
        Ok(()) | Err(Errno::EAGAIN) => {
            bail!("another daemon answers there; stop it, or set another socket")
        }
        Err(Errno::ECONNREFUSED) => Ok(fs::remove_file(path)?),
        Err(e) => Err(e).context("the socket that is there cannot be asked"),
    }
}

/// Connects without ever waiting.
fn try_connect(path: &Path) -> nix::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)
}

/// Serves until `stop` is ready and every connection has ended.
pub async fn serve(
    mut bound: Bound,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let Some(listener) = bound.listener.take() else {
        return Ok(());
    };
    let listener = UnixListener::from_std(listener)?;
    axum::serve(
        listener,
        router.into_make_service_with_connect_info::<Peer>(),
    )
    .with_graceful_shutdown(stop)
    .await
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    /// A peer that cannot be named is nobody.
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        match stream.io().peer_cred() {
            Ok(credentials) => Self {
                uid: credentials.uid(),
                pid: credentials
                    .pid()
                    .and_then(|p| u32::try_from(p).ok())
                    .unwrap_or(0),
            },
            Err(_) => Self {
                uid: u32::MAX,
                pid: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_for_owner_and_group_and_goes_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/api.sock");
        let bound = bind(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o660
        );
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists(), "the file of a listener outlives it");
        let alive = bind(&path).unwrap();
        let message = format!("{:#}", bind(&path).unwrap_err());
        assert!(message.contains("another daemon answers"), "{message}");
        assert!(path.exists());
        drop(alive);
    }

    #[test]
    fn a_daemon_that_is_stopped_is_not_waited_for() {
        use nix::sys::socket::{Backlog, bind as bind_to, listen};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let kind = (AddressFamily::Unix, SockType::Stream);
        let deaf = socket(kind.0, kind.1, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind_to(deaf.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&deaf, Backlog::new(0).unwrap()).unwrap();
        // Connections that it does not take, until it can hold no more.
        let mut held = vec![];
        loop {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let client = socket(kind.0, kind.1, flags, None).unwrap();
            let result = connect(client.as_raw_fd(), &UnixAddr::new(&path).unwrap());
            held.push(client);
            if result == Err(Errno::EAGAIN) {
                break;
            }
            assert!(held.len() < 100, "it holds any number");
        }
        let message = format!("{:#}", bind(&path).unwrap_err());
        assert!(message.contains("another daemon"), "{message}");
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(format!("{:#}", bind(&path).unwrap_err()).contains("not a socket"));
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }
}
