//! Device nodes of accelerators.

use super::{program::base_name, servers::fits};

/// Whose accelerator a device node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Accelerator {
    /// The maker, or the kind.
    pub name: &'static str,
}

/// Directory, pattern of the file's name, and whose it is.
const NODES: &[(&str, &str, &str)] = &[
    ("/dev", "nvidiactl", "NVIDIA"),
    ("/dev", "nvidia-uvm*", "NVIDIA"),
    ("/dev", "nvidia-modeset", "NVIDIA"),
    ("/dev/nvidia-caps", "*", "NVIDIA"),
    ("/dev", "nvhost-*", "NVIDIA Jetson"),
    ("/dev", "nvmap", "NVIDIA Jetson"),
    ("/dev", "kfd", "AMD"),
    ("/dev/dri", "renderD*", "GPU"),
    ("/dev/accel", "accel*", "accelerator"),
    ("/dev", "rknpu", "Rockchip"),
    ("/dev", "kgsl-3d0", "Qualcomm"),
    ("/dev", "fastrpc-*", "Qualcomm"),
    ("/dev", "hailo*", "Hailo"),
    ("/dev", "apex_*", "Coral"),
];

/// Whose accelerator this is, if it is one.
pub fn accelerator(path: &str) -> Option<Accelerator> {
    let name = base_name(path);
    let directory = path.strip_suffix(name)?.trim_end_matches('/');
    let numbered = || {
        let digits = name.strip_prefix("nvidia")?;
        let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        (number && directory == "/dev").then_some("NVIDIA")
    };
    let listed = || {
        let row = NODES
            .iter()
            .find(|(at, pattern, _)| *at == directory && fits(pattern, name));
        row.map(|(_, _, whose)| *whose)
    };
    listed().or_else(numbered).map(|name| Accelerator { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_told_from_their_neighbours() {
        for (path, whose) in [
            ("/dev/nvidia0", Some("NVIDIA")),
            ("/dev/nvidiactl", Some("NVIDIA")),
            ("/dev/nvidia-caps/nvidia-cap1", Some("NVIDIA")),
            ("/dev/kfd", Some("AMD")),
            ("/dev/dri/renderD128", Some("GPU")),
            ("/dev/accel/accel0", Some("accelerator")),
            ("/dev/apex_0", Some("Coral")),
            ("/dev/dri/card0", None),
            ("/dev/nvidia", None),
            ("/dev/nvidiax", None),
            ("/tmp/kfd", None),
            ("/dev/null", None),
            ("kfd", None),
            ("", None),
        ] {
            assert_eq!(accelerator(path).map(|a| a.name), whose, "{path}");
        }
    }
}
