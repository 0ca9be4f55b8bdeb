//! Files of `/proc`, whose fields hold names that processes choose for themselves.

#![no_main]

use slmguard_core::procfs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // A name cannot shift the fields behind it, whatever it holds.
    if let Some(stat) = procfs::stat(data) {
        let end = data.iter().rposition(|b| *b == b')').unwrap_or(0);
        let renamed = [b"1 (x", &data[end..]].concat();
        assert_eq!(procfs::stat(&renamed), Some(stat));
    }
    let named = [
        b"7 (",
        data,
        b") S 3 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 0",
    ]
    .concat();
    let stat = procfs::stat(&named).expect("the name is in brackets");
    assert_eq!(
        (stat.parent, stat.start_ticks, stat.kernel),
        (3, 12345, false)
    );

    let arguments = procfs::arguments(data);
    assert!(arguments.iter().all(|a| !a.contains(&0)));
    let mut again = arguments.join(&0);
    again.push(0);
    assert!(data.is_empty() || arguments.is_empty() || procfs::arguments(&again) == arguments);

    let _ = (
        procfs::socket_inode(data),
        procfs::cgroup(data),
        procfs::listening_inodes(data),
    );
    // The name of a process stands before its user, and the kernel writes no newline into it.
    let name: Vec<u8> = data.iter().copied().filter(|b| *b != b'\n').collect();
    let status = [b"Name:\t", &name[..], b"\nUid:\t33\t0\t0\t0\n"].concat();
    assert_eq!(procfs::user(&status), Some(33));
    let _ = procfs::user(data);
    for mount in procfs::mounts(data) {
        assert!(!mount.kind.contains(' '));
    }
});
