//! Host safety: whom no response may ever touch.
//!
//! A name alone spares nobody: a tool that calls itself `sshd` would be safe for ever. Programs are
//! spared where only root can put them.

/// Whom a response would meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Path of its program in the initial mount namespace; empty if that is not known.
    pub program: &'a str,
    /// It is a member of a workload.
    pub enrolled: bool,
    /// It is this daemon or a child of it.
    pub ours: bool,
    /// It is a tool, a shell or an agent, and not what serves.
    pub role_is_tool: bool,
    /// Its workload; empty if it has none.
    pub workload: &'a str,
}

/// Where only root can put programs.
const SYSTEM: [&str; 8] = [
    "/usr/bin/",
    "/usr/sbin/",
    "/usr/lib/",
    "/usr/libexec/",
    "/bin/",
    "/sbin/",
    "/lib/",
    "/usr/local/bin/",
];
/// Beginnings of the names of programs, and what they are.
const KEEPERS: [(&str, &str); 20] = [
    ("systemd", "the service manager"),
    ("init", "the service manager"),
    ("runit", "the service manager"),
    ("s6-", "the service manager"),
    ("openrc", "the service manager"),
    ("dbus-", "the service manager"),
    ("sshd", "the way in for the operator"),
    ("dropbear", "the way in for the operator"),
    ("login", "the way in for the operator"),
    ("dockerd", "a container runtime"),
    ("docker-init", "a container runtime"),
    ("docker-proxy", "a container runtime"),
    ("containerd", "a container runtime"),
    ("crio", "a container runtime"),
    ("conmon", "a container runtime"),
    ("podman", "a container runtime"),
    ("runc", "a container runtime"),
    ("crun", "a container runtime"),
    ("kubelet", "a container runtime"),
    ("slmguard", "this daemon"),
];

/// Why nothing may be done to a process, as a sentence; `None` if something may.
pub fn spared(subject: &Subject<'_>) -> Option<String> {
    let why = if subject.pid <= 1 {
        "it is the first process of the host".to_owned()
    } else if subject.ours {
        "it is this daemon".to_owned()
    } else if !subject.enrolled {
        "it is not a member of any workload".to_owned()
    } else {
        let name = SYSTEM
            .iter()
            .find_map(|folder| subject.program.strip_prefix(folder))
            .and_then(|rest| rest.rsplit('/').next())?;
        let (_, what) = KEEPERS
            .iter()
            .find(|(keeper, _)| name.starts_with(keeper))?;
        format!("{} is {what}", crate::text::escape(name.as_bytes()))
    };
    Some(format!(
        "Nothing is done to process {}: {why}.",
        subject.pid
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: Subject<'_> = Subject {
        pid: 77,
        program: "/opt/llama/llama-server",
        enrolled: true,
        ours: false,
        role_is_tool: false,
        workload: "chat",
    };

    #[test]
    fn keepers_are_spared_where_only_root_can_put_them() {
        assert_eq!(spared(&MEMBER), None);
        let with = |program| spared(&Subject { program, ..MEMBER });
        assert!(with("/usr/sbin/sshd").unwrap().contains("way in"));
        assert!(with("/usr/lib/systemd/systemd-logind").is_some());
        assert!(with("/usr/bin/containerd-shim-runc-v2").is_some());
        assert_eq!(with("/tmp/sshd"), None);
        assert_eq!(with("/home/a/usr/sbin/sshd"), None);
        assert_eq!(with(""), None);
        assert_eq!(with("/usr/bin/python3"), None);
    }

    #[test]
    fn the_first_process_strangers_and_ourselves_are_spared() {
        for subject in [
            Subject { pid: 0, ..MEMBER },
            Subject { pid: 1, ..MEMBER },
            Subject {
                enrolled: false,
                ..MEMBER
            },
            Subject {
                ours: true,
                ..MEMBER
            },
        ] {
            assert!(spared(&subject).is_some(), "{subject:?}");
        }
    }
}
