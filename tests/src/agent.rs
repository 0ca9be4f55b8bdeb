//! The agent: asks the model what to do, and does it.
//!
//! It is the loopback client of the inference server and performs the model's
//! tool calls **in its own process** ([`crate::tools`]), as agents do. It
//! trusts the model entirely. What it did and what came of it goes back to the
//! one who asked, so that a test sees every errno.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{http, tools};

/// The model may call tools this many times in a row.
const TURNS: usize = 4;
/// How long a completion may take; emulated machines are slow.
const COMPLETION: Duration = Duration::from_secs(60);

/// What an agent is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// The user's words.
    pub prompt: String,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transcript {
    /// The model's closing words, if it came to them.
    pub answer: Option<String>,
    /// Every tool call in order.
    pub calls: Vec<Call>,
}

/// One tool call and its outcome.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// Name of the tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: Value,
    /// What it returned, or why it failed.
    pub outcome: Result<String, Failure>,
}

/// Why a tool failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// For people.
    pub message: String,
    /// The kernel's error number, if it was the kernel who refused.
    pub errno: Option<i32>,
}

/// Runs one task against the inference server.
pub fn perform(server: SocketAddr, task: &Task) -> Result<Transcript> {
    let mut messages = vec![json!({"role": "user", "content": task.prompt})];
    let mut calls = Vec::new();
    for _ in 0..=TURNS {
        let reply = complete(server, &messages)?;
        let wanted = reply["tool_calls"].as_array().cloned().unwrap_or_default();
        messages.push(reply.clone());
        if wanted.is_empty() {
            let answer = reply["content"].as_str().map(str::to_owned);
            return Ok(Transcript { answer, calls });
        }
        for call in wanted {
            let tool = call["function"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
            let arguments: Value = serde_json::from_str(arguments).with_context(|| {
                format!("the model's arguments for {tool} are no JSON: {arguments}")
            })?;
            let outcome = tools::run(&tool, &arguments);
            let content = match &outcome {
                Ok(result) => result.clone(),
                Err(failure) => format!("error: {}", failure.message),
            };
            messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": content}));
            calls.push(Call {
                tool,
                arguments,
                outcome,
            });
        }
    }
    Ok(Transcript {
        answer: None,
        calls,
    })
}

fn complete(server: SocketAddr, messages: &[Value]) -> Result<Value> {
    let request = json!({"messages": messages, "tools": tools::offered(), "temperature": 0, "max_tokens": 64});
    let answer = http::ask(
        server,
        "/v1/chat/completions",
        Some(&request.to_string()),
        COMPLETION,
    )
    .with_context(|| format!("ask the inference server at {server}"))?;
    if answer.status != 200 {
        bail!(
            "the inference server answered {}: {}",
            answer.status,
            answer.body
        );
    }
    let body: Value =
        serde_json::from_str(&answer.body).context("the inference server's answer is no JSON")?;
    body["choices"][0]
        .get("message")
        .cloned()
        .ok_or_else(|| anyhow!("the inference server's answer has no message"))
}
