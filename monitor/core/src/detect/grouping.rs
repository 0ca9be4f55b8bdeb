//! Which unit, container and pod a process belongs to, read from the path of its cgroup. Pure text:
//! the shapes are those of cgroup versions 1 and 2, of systemd's and cgroupfs's drivers.

/// Where a process lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grouping {
    /// systemd service.
    pub unit: Option<String>,
    /// Container.
    pub container: Option<Container>,
    /// Uid of the Kubernetes pod.
    pub pod: Option<String>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// What runs it, as far as the path says.
    pub runtime: &'static str,
    /// Its id or name.
    pub id: String,
}

impl Container {
    /// The id as people write it: the first twelve digits of a long one.
    pub fn short(&self) -> &str {
        if is_hex_id(&self.id) {
            &self.id[..12]
        } else {
            &self.id
        }
    }
}

/// Starts of a scope's name, and the runtime; the container's id follows.
const SCOPES: &[(&str, &str)] = &[
    ("docker-", "docker"),
    ("libpod-payload-", "podman"),
    ("libpod-", "podman"),
    ("crun-", "crun"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("machine-", "nspawn"),
];
/// Starts of a directory's name that are not containers, although they look like it.
const NOT_CONTAINERS: &[&str] = &["libpod-conmon-", "crio-conmon-"];

/// Reads a path.
pub fn grouping(cgroup: &str) -> Grouping {
    let parts: Vec<&str> = cgroup.split('/').filter(|p| !p.is_empty()).collect();
    let mut found = Grouping {
        pod: parts.iter().find_map(|p| pod(p)),
        ..Grouping::default()
    };
    for (i, part) in parts.iter().enumerate() {
        let before = i.checked_sub(1).map_or("", |i| parts[i]);
        if let Some(container) = container(part, before, found.pod.is_some()) {
            found.container = Some(container);
        }
    }
    if found.container.is_none() {
        found.unit = parts.iter().rev().find_map(|p| unit(p));
    }
    found
}

/// A service that says something about what runs in it; a user's service manager does not.
fn unit(part: &str) -> Option<String> {
    let name = part.strip_suffix(".service")?;
    let manager = name.starts_with("user@") || ["init", "containerd", "docker"].contains(&name);
    (!manager && !name.is_empty()).then(|| part.to_owned())
}

/// `pod<uid>` of cgroupfs, `kubepods-<class>-pod<uid with _>.slice` of systemd.
fn pod(part: &str) -> Option<String> {
    // containerd under systemd writes `slice:runtime:id` into one component.
    let part = part.split(':').next().unwrap_or(part);
    let text = match part.strip_suffix(".slice") {
        Some(slice) if slice.starts_with("kubepods") => slice.rsplit_once("-pod")?.1,
        Some(_) => return None,
        None => part.strip_prefix("pod")?,
    };
    let uid = text.replace('_', "-");
    let plain = uid.len() >= 8 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    plain.then_some(uid)
}

fn container(part: &str, before: &str, in_pod: bool) -> Option<Container> {
    if NOT_CONTAINERS.iter().any(|n| part.starts_with(n)) {
        return None;
    }
    let found = |runtime, id: &str| {
        Some(Container {
            runtime,
            id: id.to_owned(),
        })
    };
    if let Some((_, rest)) = part.split_once(':') {
        let (runtime, id) = rest.split_once(':')?;
        let runtime = SCOPES
            .iter()
            .find(|(start, _)| start.trim_end_matches('-') == runtime)
            .map_or("containerd", |(_, name)| name);
        return is_hex_id(id).then(|| found(runtime, id))?;
    }
    let name = part.strip_suffix(".scope").unwrap_or(part);
    for (start, runtime) in SCOPES {
        if let Some(id) = name.strip_prefix(start)
            && (is_hex_id(id) || *runtime == "nspawn" && part.ends_with(".scope") && !id.is_empty())
        {
            return found(runtime, id);
        }
    }
    if let Some(id) = part
        .strip_prefix("lxc.payload.")
        .filter(|id| !id.is_empty())
    {
        return found("lxc", id);
    }
    match before {
        "docker" if is_hex_id(part) => found("docker", part),
        "lxc" if !part.is_empty() => found("lxc", part),
        "libpod_parent" | "machine.slice" if is_hex_id(part) => found("podman", part),
        "default" | "k8s.io" | "moby" if is_hex_id(part) => found("containerd", part),
        _ if in_pod && is_hex_id(part) => found("kubernetes", part),
        _ => None,
    }
}

/// 64 hexadecimal digits.
fn is_hex_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A unit without the part that tells its instances apart: `llama@7.service` is `llama@.service`.
pub fn template(unit: &str) -> String {
    let Some(name) = unit.strip_suffix(".service") else {
        return unit.to_owned();
    };
    match name.split_once('@') {
        Some((template, _)) => format!("{template}@.service"),
        None => unit.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "3f2a9c1b0d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd";
    const POD: &str = "1b2c3d4e-0000-1111-2222-333344445555";

    #[test]
    fn shapes_of_every_driver_are_read() {
        let under = POD.replace('-', "_");
        for (path, runtime) in [
            (format!("/docker/{ID}"), "docker"),
            (format!("/system.slice/docker-{ID}.scope"), "docker"),
            (format!("/docker/{ID}/inner"), "docker"),
            (format!("/machine.slice/libpod-{ID}.scope"), "podman"),
            (
                format!("/machine.slice/libpod-{ID}.scope/container"),
                "podman",
            ),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"
                ),
                "podman",
            ),
            (format!("/libpod_parent/libpod-{ID}"), "podman"),
            (format!("/user.slice/crun-{ID}.scope"), "crun"),
            (format!("/default/{ID}"), "containerd"),
            (format!("/system.slice/nerdctl-{ID}.scope"), "containerd"),
        ] {
            let found = grouping(&path);
            let container = found.container.unwrap_or_else(|| panic!("{path}"));
            assert_eq!(
                (container.runtime, container.id.as_str()),
                (runtime, ID),
                "{path}"
            );
            assert_eq!((found.unit, found.pod), (None, None), "{path}");
        }
        for (path, runtime) in [
            (format!("/kubepods/burstable/pod{POD}/{ID}"), "kubernetes"),
            (format!("/kubepods/pod{POD}/{ID}"), "kubernetes"),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/cri-containerd-{ID}.scope"
                ),
                "containerd",
            ),
            (
                format!("/kubepods.slice/kubepods-pod{under}.slice/crio-{ID}.scope"),
                "cri-o",
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{under}.slice/docker-{ID}.scope"
                ),
                "docker",
            ),
            (
                format!(
                    "/system.slice/containerd.service/kubepods-burstable-pod{under}.slice:cri-containerd:{ID}"
                ),
                "containerd",
            ),
            (
                format!("/kubelet.slice/kubelet-kubepods.slice/pod{POD}/{ID}"),
                "kubernetes",
            ),
        ] {
            let found = grouping(&path);
            assert_eq!(found.pod.as_deref(), Some(POD), "{path}");
            let container = found.container.unwrap_or_else(|| panic!("{path}"));
            assert_eq!(
                (container.runtime, container.short()),
                (runtime, "3f2a9c1b0d4e"),
                "{path}"
            );
        }
        for (path, runtime, id) in [
            ("/lxc/web/init.scope", "lxc", "web"),
            ("/lxc.payload.web/system.slice/x.service", "lxc", "web"),
            (
                "/machine.slice/machine-debian.scope/payload",
                "nspawn",
                "debian",
            ),
        ] {
            let container = grouping(path).container.unwrap_or_else(|| panic!("{path}"));
            assert_eq!(
                (container.runtime, container.short()),
                (runtime, id),
                "{path}"
            );
        }
    }

    #[test]
    fn units_are_read_and_managers_are_not() {
        for (path, unit) in [
            ("/system.slice/llama.service", Some("llama.service")),
            (
                "/system.slice/system-llama.slice/llama@7.service",
                Some("llama@7.service"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/llama.service",
                Some("llama.service"),
            ),
            ("/system.slice/llama.service/worker", Some("llama.service")),
            (
                "/user.slice/user-1000.slice/user@1000.service/init.scope",
                None,
            ),
            ("/user.slice/user-0.slice/session-3.scope", None),
            ("/system.slice/containerd.service", None),
            ("/init.scope", None),
            ("/", None),
            ("", None),
        ] {
            let found = grouping(path);
            assert_eq!(found.unit.as_deref(), unit, "{path}");
            assert_eq!(found.container, None, "{path}");
        }
        assert_eq!(template("llama@7.service"), "llama@.service");
        assert_eq!(template("llama.service"), "llama.service");
        assert_eq!(
            grouping(&format!("/machine.slice/libpod-conmon-{ID}.scope")).container,
            None
        );
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_harm(path in "[/a-z0-9@:_.\\-é]{0,200}") {
            let found = grouping(&path);
            if let Some(container) = found.container {
                prop_assert!(!container.short().is_empty());
            }
        }
        #[test]
        fn any_text_is_read_without_harm(path in ".{0,100}") {
            grouping(&path);
        }
    }
}
