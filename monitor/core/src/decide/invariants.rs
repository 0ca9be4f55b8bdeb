//! Invariants: what no workload may do, whatever was learned and whatever the operator allows.
//!
//! Two tables, of paths and of destinations, each entry with the reason that an operator reads. The
//! kernel gets them in compiled form; this is the one place that says what they are.

use monitor_common::{
    endpoint::{DestinationKey, INVARIANT_POLICY},
    path::permission::{CONNECT, EXEC, READ, WRITE},
};

use super::{endpoint_rule::EndpointRule, pattern::PathPattern};
use crate::{
    observation::{Endpoint, FileAccess},
    text,
};

/// What an invariant guards; decides what an alert is called elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guards {
    /// Credentials that a cloud hands to whoever asks from inside.
    CloudMetadata,
    /// Files that hold credentials.
    Credentials,
    /// Memory and environment of other processes.
    OtherProcess,
    /// Sockets of those who start programs for whoever asks: container runtimes, virtual machines,
    /// the service manager; and slmguard's own.
    Runtime,
}

const ALL: u8 = READ | WRITE | EXEC;

/// Files of credentials: text form and what is in them.
///
/// A workload's own model-hub token and TLS key are left out on purpose: servers read them for good
/// reasons, so whether they are known is for the baseline to say. `.npmrc` is guarded in home
/// directories only, because packages ship harmless ones.
///
/// What stands here is guarded with everything below it. For files that changes nothing, and it
/// keeps the automaton small: nothing has to be looked for behind them.
const CREDENTIALS: &[(&str, &str)] = &[
    ("/etc/shadow", "the system's password hashes"),
    ("/etc/shadow-", "the system's password hashes"),
    ("/etc/gshadow", "the system's group password hashes"),
    ("/etc/gshadow-", "the system's group password hashes"),
    ("/etc/security/opasswd", "old password hashes"),
    ("/etc/krb5.keytab", "the host's Kerberos keys"),
    ("/etc/ssh/ssh_host_rsa_key", "the host's SSH key"),
    ("/etc/ssh/ssh_host_ecdsa_key", "the host's SSH key"),
    ("/etc/ssh/ssh_host_ed25519_key", "the host's SSH key"),
    ("/etc/ssh/ssh_host_dsa_key", "the host's SSH key"),
    ("/**/.ssh/**", "SSH keys, or who may log in with them"),
    ("/**/.gnupg/**", "GnuPG keys"),
    ("/**/.aws/credentials", "AWS credentials"),
    ("/**/.aws/sso/**", "AWS credentials"),
    ("/**/.aws/cli/**", "AWS credentials"),
    ("/**/.config/gcloud/**", "Google Cloud credentials"),
    ("/**/.azure/**", "Azure credentials"),
    ("/**/.oci/**", "Oracle Cloud credentials"),
    ("/**/.kube/config", "Kubernetes credentials"),
    ("/**/.docker/config.json", "container registry credentials"),
    ("/**/containers/auth.json", "container registry credentials"),
    ("/**/.netrc", "passwords for network services"),
    ("/**/.git-credentials", "Git credentials"),
    ("/**/.config/git/credentials", "Git credentials"),
    ("/**/.config/gh/hosts.yml", "GitHub credentials"),
    ("/**/.pgpass", "PostgreSQL passwords"),
    ("/**/.pypirc", "package registry credentials"),
    ("/root/.npmrc", "package registry credentials"),
    ("/home/*/.npmrc", "package registry credentials"),
    (
        "/**/.cargo/credentials.toml",
        "package registry credentials",
    ),
    ("/**/.vault-token", "a Vault token"),
    (
        "/**/kubernetes.io/serviceaccount/**",
        "the Kubernetes service account",
    ),
    (
        "/**/eks.amazonaws.com/serviceaccount/**",
        "the AWS role of this pod",
    ),
    (
        "/etc/kubernetes/admin.conf",
        "cluster administrator credentials",
    ),
    (
        "/etc/kubernetes/super-admin.conf",
        "cluster administrator credentials",
    ),
    ("/etc/kubernetes/kubelet.conf", "node credentials"),
    (
        "/etc/kubernetes/controller-manager.conf",
        "cluster credentials",
    ),
    ("/etc/kubernetes/scheduler.conf", "cluster credentials"),
    ("/etc/kubernetes/pki/**", "cluster keys"),
    ("/var/lib/kubelet/pki/**", "node keys"),
    (
        "/etc/rancher/k3s/k3s.yaml",
        "cluster administrator credentials",
    ),
];

/// Files in `/proc` that are the inside of another process.
const OTHER_PROCESSES: &[(&str, &str)] = &[
    ("/proc/*/mem", "the memory of another process"),
    (
        "/proc/*/environ",
        "the environment of another process, where secrets are kept",
    ),
    ("/proc/*/task/*/mem", "the memory of another process"),
    (
        "/proc/*/task/*/environ",
        "the environment of another process, where secrets are kept",
    ),
];

/// Unix sockets that make whoever reaches them master of the host. Containers get them under other
/// folders, so that the name alone counts where it is unmistakable.
const RUNTIMES: &[(&str, &str)] = &[
    ("/**/docker.sock", "Docker, which starts anything as root"),
    ("/**/podman.sock", "Podman, which starts containers"),
    ("/**/containerd.sock", "containerd, which starts containers"),
    (
        "/**/containerd.sock.ttrpc",
        "containerd, which starts containers",
    ),
    ("/**/crio.sock", "CRI-O, which starts containers"),
    (
        "/**/cri-dockerd.sock",
        "Docker, which starts anything as root",
    ),
    (
        "/**/dockershim.sock",
        "Docker, which starts anything as root",
    ),
    ("/**/buildkitd.sock", "BuildKit, which runs build steps"),
    (
        "/**/lxd/unix.socket",
        "LXD, which starts containers as root",
    ),
    (
        "/**/incus/unix.socket",
        "Incus, which starts containers as root",
    ),
    ("/run/libvirt/*", "libvirt, which starts virtual machines"),
    ("/run/systemd/private", "the service manager"),
    ("/run/user/*/systemd/private", "a user's service manager"),
    ("/run/slmguard/api.sock", "slmguard's own commands"),
];

/// Addresses that hand out credentials: every port and protocol, because the kernel looks for
/// exactly that. Some of them also answer DNS on their cloud; a workload there needs a resolver of
/// its host.
const METADATA: &[(&str, &str)] = &[
    ("169.254.169.254:*", "the cloud's metadata service"),
    (
        "169.254.170.2:*",
        "the AWS credentials of a container's task",
    ),
    (
        "169.254.170.23:*",
        "the AWS credentials of a Kubernetes pod",
    ),
    ("[fd00:ec2::254]:*", "AWS's metadata service"),
    (
        "[fd00:ec2::23]:*",
        "the AWS credentials of a Kubernetes pod",
    ),
    ("[fd20:ce::254]:*", "Google Cloud's metadata service"),
    ("[fd00:c1::a9fe:a9fe]:*", "Oracle Cloud's metadata service"),
    ("168.63.129.16:*", "Azure's host service"),
    ("100.100.100.200:*", "Alibaba Cloud's metadata service"),
    ("169.254.0.23:*", "Tencent Cloud's metadata service"),
    ("192.0.0.192:*", "Oracle Cloud's metadata service"),
];

/// Every invariant about paths, in a fixed order.
pub fn invariant_paths() -> Vec<PathPattern> {
    paths().map(|(pattern, ..)| pattern).collect()
}

/// Every invariant about destinations, in a fixed order.
pub fn invariant_endpoints() -> Vec<EndpointRule> {
    endpoints().map(|(rule, _)| rule).collect()
}

/// The invariants about destinations as entries of the kernel's map, under
/// [`INVARIANT_POLICY`].
pub fn invariant_destinations() -> Vec<(u32, DestinationKey)> {
    endpoints()
        .flat_map(|(rule, _)| rule.entries(INVARIANT_POLICY))
        .collect()
}

/// Which invariant a destination meets, if any, and what is there.
pub fn guarded_endpoint(endpoint: &Endpoint) -> Option<(Guards, &'static str)> {
    endpoints()
        .find(|(rule, _)| rule.matches(endpoint))
        .map(|(_, what)| (Guards::CloudMetadata, what))
}

/// Which invariant a file meets, if any, and what is in it.
pub fn guarded_file(file: &FileAccess) -> Option<(Guards, &'static str)> {
    let path: Vec<&[u8]> = text::components(&file.name).collect();
    // The decoder wrote `self` or `*` for the process: `*` means another one.
    paths()
        .find(|(pattern, ..)| {
            pattern.permissions & file.access != 0 && pattern.matches(&path, true)
        })
        .map(|(_, guards, what)| (guards, what))
}

fn paths() -> impl Iterator<Item = (PathPattern, Guards, &'static str)> {
    // The tables are tested to parse; an entry that did not would be missing here, and the test
    // would fail.
    let read = |text: &str| PathPattern::parse(text, ALL).ok();
    let credentials = CREDENTIALS
        .iter()
        .filter_map(move |(text, what)| Some((read(text)?, Guards::Credentials, *what)))
        .flat_map(|(pattern, guards, what)| {
            let below = pattern.everything_below();
            [pattern]
                .into_iter()
                .chain(below)
                .map(move |pattern| (pattern, guards, what))
        });
    let processes = OTHER_PROCESSES.iter().filter_map(move |(text, what)| {
        Some((
            read(text)?.of_other_processes(),
            Guards::OtherProcess,
            *what,
        ))
    });
    let runtimes = RUNTIMES.iter().filter_map(|(text, what)| {
        let pattern = PathPattern::parse(text, CONNECT).ok()?;
        Some((pattern, Guards::Runtime, *what))
    });
    credentials.chain(processes).chain(runtimes)
}

fn endpoints() -> impl Iterator<Item = (EndpointRule, &'static str)> {
    METADATA
        .iter()
        .filter_map(|(text, what)| Some((EndpointRule::parse(text).ok()?, *what)))
}

#[cfg(test)]
mod tests {
    use monitor_common::endpoint::Scope;

    use super::*;

    fn file(name: &str) -> FileAccess {
        FileAccess {
            path: name.into(),
            name: name.into(),
            inode: (0, 0),
            access: READ,
            cut: false,
            incomplete: false,
        }
    }

    #[test]
    fn every_entry_of_the_tables_is_understood() {
        let open_ended = CREDENTIALS
            .iter()
            .filter(|(text, _)| text.ends_with("/**"))
            .count();
        let credentials = 2 * CREDENTIALS.len() - open_ended;
        assert_eq!(
            invariant_paths().len(),
            credentials + OTHER_PROCESSES.len() + RUNTIMES.len()
        );
        assert_eq!(invariant_endpoints().len(), METADATA.len());
    }

    #[test]
    fn credential_files_are_guarded_wherever_a_home_is() {
        for path in [
            "/etc/shadow",
            "/root/.ssh/id_ed25519",
            "/home/ada/.ssh/work_key",
            "/srv/slm/.ssh/id_rsa",
            "/run/secrets/kubernetes.io/serviceaccount/token",
            "/var/lib/agent/.aws/credentials",
            "/.netrc",
        ] {
            assert_eq!(
                guarded_file(&file(path)).map(|g| g.0),
                Some(Guards::Credentials),
                "{path}"
            );
        }
        for path in [
            "/etc/passwd",
            "/etc/ssh/ssh_config",
            "/srv/app/.npmrc",
            "/home/ada/.aws/config",
            "/",
        ] {
            assert_eq!(guarded_file(&file(path)), None, "{path}");
        }
    }

    #[test]
    fn sockets_of_container_runtimes_are_guarded_as_sockets_only() {
        let reached = |name: &str, access| {
            let file = FileAccess {
                access,
                ..file(name)
            };
            guarded_file(&file).map(|g| g.0)
        };
        for name in [
            "/run/docker.sock",
            "/host/run/containerd/containerd.sock",
            "/run/user/1000/podman/podman.sock",
            "/run/slmguard/api.sock",
        ] {
            assert_eq!(reached(name, CONNECT), Some(Guards::Runtime), "{name}");
            assert_eq!(reached(name, READ), None, "{name}");
        }
        assert_eq!(reached("/run/dbus/system_bus_socket", CONNECT), None);
    }

    #[test]
    fn other_processes_are_guarded_and_the_own_one_is_not() {
        assert_eq!(
            guarded_file(&file("/proc/*/environ")).map(|g| g.0),
            Some(Guards::OtherProcess)
        );
        assert_eq!(
            guarded_file(&file("/proc/*/task/*/mem")).map(|g| g.0),
            Some(Guards::OtherProcess)
        );
        assert_eq!(guarded_file(&file("/proc/self/environ")), None);
        assert_eq!(guarded_file(&file("/proc/self/task/*/mem")), None);
    }

    #[test]
    fn metadata_addresses_are_guarded_on_every_port() {
        let at = |a: &str, port, protocol| Endpoint {
            address: a.parse().unwrap(),
            port,
            protocol,
        };
        assert!(guarded_endpoint(&at("169.254.169.254", 80, 6)).is_some());
        assert!(guarded_endpoint(&at("::ffff:169.254.169.254", 8080, 17)).is_some());
        assert!(guarded_endpoint(&at("fd00:ec2::254", 1, 17)).is_some());
        assert!(guarded_endpoint(&at("169.254.169.253", 53, 17)).is_none());
    }

    #[test]
    fn the_kernel_finds_every_invariant_in_the_one_scope_where_it_looks() {
        for (bits, key) in invariant_destinations() {
            assert_eq!(
                (bits, key.policy, key.scope),
                (64 + 128, INVARIANT_POLICY, Scope::Any as u8)
            );
        }
    }
}
