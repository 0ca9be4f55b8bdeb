//! The servers that are known by name: one row each. This is the place to add another.
//!
//! Rows whose signs are a special case of another's stand before it: where two fit equally well,
//! the first wins. Ports and variables are hints; neither is enough for anything.

/// Who recognises a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detector {
    /// llama.cpp inside node.
    NodeLlamaCpp,
    /// llama.cpp inside Python.
    LlamaCppPython,
    /// A program that carries its model with it.
    Llamafile,
    /// Ollama.
    Ollama,
    /// llama.cpp's own server.
    LlamaCpp,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Text Generation Inference.
    Tgi,
    /// Text Embeddings Inference.
    Tei,
    /// LocalAI.
    LocalAi,
    /// mistral.rs.
    MistralRs,
    /// Triton.
    Triton,
    /// ONNX Runtime inside any program.
    OnnxRuntime,
    /// No known server, but it does what they do.
    Generic,
}

impl Detector {
    /// The word for it in output, names and metrics.
    pub fn id(self) -> &'static str {
        row(self).map_or("generic", |row| row.name)
    }

    /// The detector of a word.
    pub fn from_id(id: &str) -> Option<Self> {
        if id == "generic" {
            return Some(Self::Generic);
        }
        SERVERS.iter().find(|s| s.name == id).map(|s| s.id)
    }
}

/// What gives a server away.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its detector.
    pub id: Detector,
    /// Its word.
    pub name: &'static str,
    /// File names of its programs; a `*` at an end stands for any rest. One with slashes is a part of
    /// the path.
    pub programs: &'static [&'static str],
    /// Modules and scripts, where an interpreter runs it.
    pub scripts: &'static [&'static str],
    /// Starts of the titles that its processes give themselves.
    pub titles: &'static [&'static str],
    /// First words on the command line that make it serve.
    pub commands: &'static [&'static str],
    /// First words that make the same program something else: a client, a download.
    pub other_commands: &'static [&'static str],
    /// Ports that it listens on unless told otherwise.
    pub ports: &'static [u16],
    /// Libraries of its own: parts of their paths.
    pub libraries: &'static [&'static str],
    /// Starts of its environment variables.
    pub variables: &'static [&'static str],
    /// Options whose value is its model.
    pub model_options: &'static [&'static str],
}

const NONE: Server = Server {
    id: Detector::Generic,
    name: "generic",
    programs: &[],
    scripts: &[],
    titles: &[],
    commands: &[],
    other_commands: &[],
    ports: &[],
    libraries: &[],
    variables: &[],
    model_options: &[],
};

/// Options that name a model in any program.
pub const MODEL_OPTIONS: &[&str] = &[
    "--model",
    "--model-path",
    "--model_path",
    "--model-file",
    "--weights",
    "--checkpoint",
    "--gguf",
    "--onnx",
];

/// Every row.
pub const SERVERS: &[Server] = &[
    Server {
        id: Detector::NodeLlamaCpp,
        name: "node-llama-cpp",
        libraries: &["/llama-addon.node", "/@node-llama-cpp/"],
        ..NONE
    },
    Server {
        id: Detector::LlamaCppPython,
        name: "llama-cpp-python",
        scripts: &["llama_cpp.server"],
        ports: &[8000],
        libraries: &["/llama_cpp/lib/libllama", "/llama_cpp/libllama"],
        model_options: &["--model"],
        ..NONE
    },
    Server {
        id: Detector::Llamafile,
        name: "llamafile",
        programs: &["llamafile", "llamafile-*", "*.llamafile"],
        ports: &[8080],
        model_options: &["-m", "--model"],
        ..NONE
    },
    Server {
        id: Detector::Ollama,
        name: "ollama",
        programs: &["ollama", "/lib/ollama/"],
        commands: &["serve", "start", "runner"],
        other_commands: &[
            "run", "pull", "push", "list", "ls", "show", "ps", "cp", "rm", "stop", "create",
        ],
        ports: &[11434],
        libraries: &["/lib/ollama/"],
        variables: &["OLLAMA_"],
        model_options: &["--model"],
        ..NONE
    },
    Server {
        id: Detector::LlamaCpp,
        name: "llama.cpp",
        programs: &[
            "llama-server",
            "llama-cli",
            "llama",
            "rpc-server",
            "llama-rpc-server",
        ],
        ports: &[8080, 50052],
        libraries: &["/libllama.so", "/libllama-", "/libggml"],
        variables: &["LLAMA_ARG_", "LLAMA_API_KEY"],
        model_options: &[
            "-m",
            "--model",
            "-hf",
            "-hfr",
            "--hf-repo",
            "-dr",
            "--models-dir",
        ],
        ..NONE
    },
    Server {
        id: Detector::Vllm,
        name: "vllm",
        programs: &["vllm"],
        scripts: &[
            "vllm",
            "vllm.entrypoints.openai.api_server",
            "vllm.entrypoints.api_server",
        ],
        titles: &["VLLM::"],
        commands: &["serve"],
        other_commands: &["bench", "chat", "complete", "collect-env"],
        ports: &[8000],
        libraries: &["/vllm/_C", "/vllm/_moe_C"],
        variables: &["VLLM_"],
        model_options: &["--model"],
    },
    Server {
        id: Detector::Sglang,
        name: "sglang",
        programs: &["sglang"],
        scripts: &["sglang.launch_server", "sglang"],
        titles: &["sglang::"],
        commands: &["serve"],
        ports: &[30000],
        libraries: &["/sgl_kernel/", "/sglang/"],
        variables: &["SGLANG_", "SGL_"],
        model_options: &["--model-path", "--model"],
        ..NONE
    },
    Server {
        id: Detector::Tgi,
        name: "tgi",
        programs: &["text-generation-launcher", "text-generation-router*"],
        scripts: &["text-generation-server", "text_generation_server"],
        ports: &[3000, 80, 9000],
        libraries: &["/text_generation_server/"],
        variables: &["TGI_", "MAX_BATCH_PREFILL_TOKENS"],
        model_options: &["--model-id", "--tokenizer-name"],
        ..NONE
    },
    Server {
        id: Detector::Tei,
        name: "text-embeddings-inference",
        programs: &["text-embeddings-router*"],
        scripts: &["python-text-embeddings-server"],
        ports: &[3000, 80],
        model_options: &["--model-id"],
        ..NONE
    },
    Server {
        id: Detector::LocalAi,
        name: "localai",
        programs: &["local-ai", "localai"],
        commands: &["run", "federated", "worker", "p2p-worker"],
        other_commands: &["models", "util", "transcript", "tts"],
        ports: &[8080],
        variables: &["LOCALAI_"],
        model_options: &["--models-path", "--config-file"],
        ..NONE
    },
    Server {
        id: Detector::MistralRs,
        name: "mistral.rs",
        programs: &["mistralrs", "mistralrs-server"],
        commands: &["serve", "plain", "gguf", "run", "from-config"],
        ports: &[1234],
        model_options: &["-m", "--model-id", "-f", "--quantized-filename"],
        ..NONE
    },
    Server {
        id: Detector::Triton,
        name: "triton",
        programs: &["tritonserver", "triton_python_backend_stub"],
        ports: &[8000, 8001, 8002],
        libraries: &["/tritonserver/backends/", "/libtritonserver.so"],
        variables: &["TRITON_"],
        model_options: &["--model-repository", "--model-store"],
        ..NONE
    },
    Server {
        id: Detector::OnnxRuntime,
        name: "onnxruntime",
        libraries: &[
            "/libonnxruntime",
            "/onnxruntime_pybind11_state",
            "/onnxruntime_genai",
        ],
        variables: &["ORT_"],
        ..NONE
    },
];

/// The row of a detector.
pub fn row(id: Detector) -> Option<&'static Server> {
    SERVERS.iter().find(|s| s.id == id)
}

/// Whether a name fits a pattern with a `*` at its start or end.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(start), _) => name.starts_with(start),
        (_, Some(end)) => name.len() > end.len() && name.ends_with(end),
        _ => pattern == name,
    }
}
