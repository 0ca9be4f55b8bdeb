//! Formats by their first bytes.

use serde::Deserialize;

/// Bytes that [`sniff`] wants to see.
pub const SNIFFED: usize = 4096;
/// Largest header that the safetensors format allows.
const SAFETENSORS_HEADER: u64 = 100 << 20;

/// A format of model or state files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// llama.cpp's format.
    Gguf,
    /// Its predecessors.
    Ggml,
    /// A prompt cache of llama.cpp: it holds what users wrote.
    LlamaState,
    /// Tensors and nothing else.
    Safetensors,
    /// A zip file with a pickle in it: code that runs when it is loaded.
    PytorchZip,
    /// A pickle: code that runs when it is loaded.
    Pickle,
    /// ONNX.
    Onnx,
    /// HDF5, as Keras writes it.
    Hdf5,
    /// TensorFlow Lite.
    Tflite,
    /// A NumPy array.
    Numpy,
    /// A program that carries its model with it.
    Llamafile,
}

impl Format {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gguf => "GGUF",
            Self::Ggml => "GGML",
            Self::LlamaState => "llama.cpp state",
            Self::Safetensors => "safetensors",
            Self::PytorchZip => "PyTorch",
            Self::Pickle => "pickle",
            Self::Onnx => "ONNX",
            Self::Hdf5 => "HDF5",
            Self::Tflite => "TFLite",
            Self::Numpy => "NumPy",
            Self::Llamafile => "llamafile",
        }
    }

    /// Whether a file of this format is a model by that alone. Pickles, arrays and HDF5 files can
    /// be anything, and a state is not a model.
    pub const fn is_model(self) -> bool {
        matches!(
            self,
            Self::Gguf
                | Self::Ggml
                | Self::Safetensors
                | Self::PytorchZip
                | Self::Onnx
                | Self::Tflite
                | Self::Llamafile
        )
    }

    /// Whether loading a file of this format runs code that is in it.
    pub const fn runs_code(self) -> bool {
        matches!(
            self,
            Self::PytorchZip | Self::Pickle | Self::Hdf5 | Self::Llamafile
        )
    }
}

/// The format of a file, given its first bytes, its length and its name. The name decides only
/// where the bytes could be many things.
pub fn sniff(bytes: &[u8], length: u64, name: &str) -> Option<Format> {
    let word = |at: usize| bytes.get(at..at + 4);
    let first = word(0)?;
    match first {
        b"GGUF" => return Some(Format::Gguf),
        b"lmgg" | b"fmgg" | b"tjgg" => return Some(Format::Ggml),
        b"qsgg" | b"nsgg" => return Some(Format::LlamaState),
        b"MZqF" if bytes.get(4..6) == Some(b"pD") => return Some(Format::Llamafile),
        b"PK\x03\x04" => {
            let has = |what: &[u8]| bytes.windows(what.len()).any(|w| w == what);
            if has(b"/data.pkl") {
                return Some(Format::PytorchZip);
            }
            return name.ends_with(".llamafile").then_some(Format::Llamafile);
        }
        _ => {}
    }
    if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
        return Some(Format::Hdf5);
    }
    if bytes.starts_with(b"\x93NUMPY") {
        return Some(Format::Numpy);
    }
    if word(4) == Some(b"TFL3") {
        return Some(Format::Tflite);
    }
    if is_safetensors(bytes, length) {
        return Some(Format::Safetensors);
    }
    if first[0] == 0x80 && (2..=5).contains(&first[1]) && is_pickle(bytes, name) {
        return Some(Format::Pickle);
    }
    let onnx = name.ends_with(".onnx") || name.ends_with(".ort");
    (super::onnx::is_plausible(bytes, onnx)).then_some(Format::Onnx)
}

/// Eight bytes of length, then an object that fits into the file.
fn is_safetensors(bytes: &[u8], length: u64) -> bool {
    let Some(size) = bytes.get(..8).and_then(|b| b.try_into().ok()) else {
        return false;
    };
    let size = u64::from_le_bytes(size);
    (2..=SAFETENSORS_HEADER).contains(&size)
        && size <= length.saturating_sub(8)
        && bytes.get(8) == Some(&b'{')
        && bytes[9..]
            .iter()
            .find(|b| !b.is_ascii_whitespace())
            .is_some_and(|b| matches!(b, b'"' | b'}'))
}

/// A pickle of PyTorch's own, or one that is called like a model.
fn is_pickle(bytes: &[u8], name: &str) -> bool {
    const TORCH: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";
    bytes.starts_with(TORCH)
        || [".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"]
            .iter()
            .any(|end| name.ends_with(end))
}
