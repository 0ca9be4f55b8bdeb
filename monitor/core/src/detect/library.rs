//! Shared libraries that compute models, whatever program maps them.

use super::servers::{SERVERS, Server};

/// Parts of paths of libraries that no single server owns.
const GENERIC: &[&str] = &[
    "/libtorch.so",
    "/libtorch_cpu.so",
    "/libtorch_cuda.so",
    "/libtvm",
    "/libtensorrt_llm",
    "/libnvinfer.so",
    "/libopenvino.so",
    "/libopenvino_genai",
    "/libmlx.so",
    "/libmlc_llm",
    "/libctranslate2",
    "/libtensorflow.so",
    "/libtensorflow_cc.so",
    "/libtensorflow_framework.so",
    "/libtensorflowlite",
    "/libtflite",
    "/libwhisper.so",
    "/libkoboldcpp",
];

/// Whether a path is that of such a library.
pub fn is_inference_library(path: &str) -> bool {
    GENERIC.iter().any(|part| path.contains(part)) || SERVERS.iter().any(|s| owns(s, path))
}

/// Whether a library is one of this server's.
pub(super) fn owns(server: &Server, path: &str) -> bool {
    server.libraries.iter().any(|part| path.contains(part))
}
