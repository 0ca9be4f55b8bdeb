//! A GGUF model of the llama architecture, read into memory and run by candle.
//!
//! Knows tensors and tokens; must not know who asks.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;

/// A loaded model.
pub struct Model {
    weights: ModelWeights,
    vocabulary: Vec<String>,
    end: u32,
}

impl Model {
    /// Reads the whole file; nothing of it is mapped.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let mut reader = Cursor::new(bytes);
        let content = Content::read(&mut reader).context("understand the model file")?;
        let meta = |name: &str| {
            let value = content.metadata.get(name);
            value.with_context(|| format!("the model file has no {name}"))
        };
        let vocabulary = meta("tokenizer.ggml.tokens")?
            .to_vec()?
            .iter()
            .map(|token| Ok(token.to_string()?.clone()))
            .collect::<Result<Vec<_>>>()?;
        let end = meta("tokenizer.ggml.eos_token_id")?.to_u32()?;
        let weights = ModelWeights::from_gguf(content, &mut reader, &Device::Cpu)?;
        Ok(Self {
            weights,
            vocabulary,
            end,
        })
    }

    /// What the model says after `prompt`: the likeliest token each time.
    pub fn complete(&mut self, prompt: &str, limit: usize) -> Result<String> {
        let mut pending = self.tokens(prompt)?;
        let (mut position, mut text) = (0, String::new());
        for _ in 0..limit {
            let input = Tensor::new(pending.as_slice(), &Device::Cpu)?.unsqueeze(0)?;
            let scores: Vec<f32> = self
                .weights
                .forward(&input, position)?
                .flatten_all()?
                .to_vec1()?;
            position += pending.len();
            let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let (token, _) = best.context("the model has no vocabulary")?;
            let word = &self.vocabulary[token];
            if token as u32 == self.end || word == "<|im_end|>" {
                break;
            }
            text.push_str(word);
            pending = vec![token as u32];
        }
        Ok(text)
    }

    /// The longest token that fits, again and again; bytes where none does.
    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        let (mut rest, mut tokens) = (text, Vec::new());
        while let Some(first) = rest.bytes().next() {
            let fitting = self
                .vocabulary
                .iter()
                .enumerate()
                .filter(|(_, word)| !word.is_empty() && rest.starts_with(word.as_str()));
            if let Some((token, word)) = fitting.max_by_key(|(_, word)| word.len()) {
                tokens.push(token as u32);
                rest = &rest[word.len()..];
                continue;
            }
            let length = rest.chars().next().map_or(1, char::len_utf8);
            for byte in rest.bytes().take(length) {
                let name = format!("<0x{byte:02X}>");
                match self.vocabulary.iter().position(|word| *word == name) {
                    Some(token) => tokens.push(token as u32),
                    None => bail!("the vocabulary has no token for byte {first:#x}"),
                }
            }
            rest = &rest[length..];
        }
        if tokens.is_empty() {
            bail!("nothing to complete");
        }
        Ok(tokens)
    }
}
