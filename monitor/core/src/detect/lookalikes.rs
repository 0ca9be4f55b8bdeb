//! Programs that come near models without computing with them, and interpreters, whose name says
//! nothing about what they run.

use super::{program::base_name, servers::fits};

/// Programs that read and write files of any kind: copying, editing, packing, backing up, serving
/// and scanning. That one of them has a model open says nothing about it.
const FILE_PROGRAMS: &[&str] = &[
    // copying, packing, summing
    "cp",
    "mv",
    "dd",
    "cat",
    "rsync",
    "scp",
    "sftp-server",
    "sftp",
    "tar",
    "bsdtar",
    "cpio",
    "gzip",
    "pigz",
    "zstd",
    "xz",
    "unzip",
    "zip",
    "7z",
    "md5sum",
    "sha1sum",
    "sha256sum",
    "sha512sum",
    "b2sum",
    "b3sum",
    "cmp",
    "head",
    "tail",
    "split",
    "install",
    "busybox",
    // editing and looking
    "vi",
    "vim*",
    "nvim",
    "nano",
    "emacs*",
    "code",
    "code-*",
    "less",
    "more",
    "hexdump",
    "xxd",
    "od",
    "strings",
    "file",
    "grep",
    "rg",
    "find",
    "nautilus",
    "dolphin",
    "thunar",
    // packages and images
    "dpkg*",
    "apt*",
    "unattended-upgr*",
    "rpm*",
    "dnf*",
    "yum",
    "zypper",
    "pacman",
    "snapd",
    "flatpak*",
    "pip",
    "pip3*",
    "uv",
    "conda",
    "mamba",
    "npm",
    "dockerd",
    "containerd*",
    "podman",
    "buildah",
    "buildkitd",
    "skopeo",
    "crio",
    // fetching and version control
    "curl",
    "wget*",
    "aria2c",
    "git",
    "git-*",
    "hf",
    "huggingface-cli",
    "transmission*",
    "qbittorrent*",
    "aws",
    "gsutil",
    "rclone",
    "s5cmd",
    // backing up
    "restic",
    "borg*",
    "duplicity",
    "duplicati*",
    "bacula*",
    "bareos*",
    "kopia*",
    "rsnapshot",
    "amanda*",
    "urbackup*",
    "zfs",
    "btrfs",
    // serving and sharing files
    "nginx",
    "httpd",
    "apache2",
    "caddy",
    "lighttpd",
    "smbd",
    "vsftpd",
    "proftpd",
    "minio",
    "nfsd",
    "syncthing",
    "sshd*",
    // scanning and indexing
    "updatedb*",
    "mlocate",
    "plocate",
    "tracker-*",
    "localsearch*",
    "baloo_*",
    "clamd",
    "clamscan",
    "freshclam",
    "aide",
    "samhain",
    "ossec*",
];

/// Interpreters and virtual machines.
const INTERPRETERS: &[&str] = &[
    "python*", "pypy*", "node", "nodejs", "bun", "deno", "ruby*", "perl*", "java", "dotnet",
    "php*", "lua*", "Rscript", "julia", "bash", "sh", "dash", "zsh", "ash", "ape*",
];

/// Programs that anybody uses for anything, so that a rule for the program would take in strangers.
const EVERYBODYS: &[&str] = &[
    "curl", "wget*", "nc", "ncat", "netcat*", "socat", "telnet", "openssl", "ssh", "ab", "wrk",
    "hey", "k6", "ping", "busybox", "sudo", "env", "timeout", "xargs", "tmux*", "screen",
];

/// Whether a program handles files of any kind.
pub fn handles_any_file(exe: &str) -> bool {
    any(FILE_PROGRAMS, exe)
}

/// Whether a program is an interpreter.
pub fn is_interpreter(exe: &str) -> bool {
    any(INTERPRETERS, exe)
}

/// Whether a program is a tool that anybody uses for anything.
pub fn serves_everybody(exe: &str) -> bool {
    any(EVERYBODYS, exe)
}

fn any(patterns: &[&str], exe: &str) -> bool {
    let name = base_name(exe);
    patterns.iter().any(|pattern| fits(pattern, name))
}
