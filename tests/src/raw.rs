//! What an attacker does past the libraries: requests through io_uring, mounts
//! by the newer interface, other processes' memory, mappings.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use io_uring::{IoUring, opcode, squeue, types};
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, socket};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// Bytes that are read at once.
const CHUNK: usize = 4096;
/// Milliseconds after which the kernel's thread of a polled ring sleeps.
const IDLE: u32 = 1000;

/// A ring, and whether the kernel's own thread serves it.
pub struct Ring(IoUring);

impl Ring {
    /// Sets up a ring.
    pub fn new(polled: bool) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        if polled {
            builder.setup_sqpoll(IDLE);
        }
        builder.build(8).map(Self)
    }

    /// Submits one request and waits for its result.
    fn ask(&mut self, request: squeue::Entry) -> io::Result<i32> {
        // SAFETY: what the request points to outlives this call, which waits for its end.
        unsafe { self.0.submission().push(&request) }.map_err(io::Error::other)?;
        self.0.submit_and_wait(1)?;
        let ended = self.0.completion().next();
        let result = ended
            .ok_or_else(|| io::Error::other("no completion"))?
            .result();
        match result {
            0.. => Ok(result),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }

    /// Connects by TCP and sends.
    pub fn connect(&mut self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let family = if to.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let fd = types::Fd(socket.as_raw_fd());
        let address = SockaddrStorage::from(to);
        self.ask(opcode::Connect::new(fd, address.as_ptr(), address.len()).build())?;
        let length = bytes.len() as u32;
        self.ask(opcode::Send::new(fd, bytes.as_ptr(), length).build())
            .map(drop)
    }

    /// Reads the beginning of a file.
    pub fn read(&mut self, path: &Path) -> io::Result<String> {
        let path = c_string(path)?;
        let request = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr())
            .flags(libc::O_RDONLY | libc::O_CLOEXEC);
        let fd = self.ask(request.build())?;
        // SAFETY: the kernel has just made this descriptor, for us alone.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut bytes = [0; CHUNK];
        let fd = types::Fd(file.as_raw_fd());
        let request = opcode::Read::new(fd, bytes.as_mut_ptr(), CHUNK as u32);
        let count = self.ask(request.build())?;
        Ok(String::from_utf8_lossy(&bytes[..count as usize]).into_owned())
    }

    /// Removes a file's name.
    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        let path = c_string(path)?;
        let request = opcode::UnlinkAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr());
        self.ask(request.build()).map(drop)
    }
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Lays a copy of what is mounted at `from` over `to`, without mount(2).
pub fn clone_mount(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (c_string(from)?, c_string(to)?);
    let nowhere = c"".as_ptr();
    // SAFETY: strings that end and live as long as the calls; numbers besides.
    let tree = unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC,
        )
    };
    if tree < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above; the descriptor is ours.
    let moved = unsafe {
        let tree = OwnedFd::from_raw_fd(tree as i32);
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            nowhere,
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    if moved < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Starts a child in a user namespace of its own, by clone3 or by clone. The child
/// ends at once; says how.
pub fn child_apart(by_clone3: bool) -> io::Result<WaitStatus> {
    let (kind, signal) = (libc::CLONE_NEWUSER as u64, libc::SIGCHLD as u64);
    // `struct clone_args` as it was at first: flags, three places for ids, the
    // signal at the end, a stack and its size, thread-local storage.
    let arguments = [kind, 0, 0, 0, signal, 0, 0, 0];
    // SAFETY: as a fork, without a stack of its own; the child makes one system
    // call and is gone.
    let pid = unsafe {
        let pid = match by_clone3 {
            true => libc::syscall(
                libc::SYS_clone3,
                arguments.as_ptr(),
                size_of_val(&arguments),
            ),
            false => libc::syscall(libc::SYS_clone, kind | signal, 0, 0, 0, 0),
        };
        if pid == 0 {
            libc::_exit(0);
        }
        pid
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(waitpid(Pid::from_raw(pid as i32), None)?)
}

/// Reads four bytes of another process.
pub fn read_memory(pid: i32, address: usize) -> io::Result<String> {
    let mut bytes = [0; 4];
    let remote = RemoteIoVec {
        base: address,
        len: bytes.len(),
    };
    process_vm_readv(
        Pid::from_raw(pid),
        &mut [IoSliceMut::new(&mut bytes)],
        &[remote],
    )?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Maps a file for reading, and lets it go again.
pub fn map(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let length = NonZeroUsize::new(file.metadata()?.len() as usize)
        .ok_or_else(|| io::Error::other("an empty file"))?;
    // SAFETY: a new mapping that nobody looks into, given back at once.
    unsafe {
        let at = mmap(
            None,
            length,
            ProtFlags::PROT_READ,
            MapFlags::MAP_PRIVATE,
            &file,
            0,
        )?;
        munmap(at, length.get())?;
    }
    Ok(())
}

/// Makes a socket of any kind, known to a library or not.
pub fn socket_of(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: a system call without pointers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just made and that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
