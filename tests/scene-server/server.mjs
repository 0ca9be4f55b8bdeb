// The inference server of the scene: llama.cpp behind the part of the OpenAI
// API that the agent needs.
//
//   node server.mjs --model FILE --listen HOST:PORT
//
// POST /v1/chat/completions   messages and tools in, text or tool_calls out
// GET  /health                200 once the model is loaded
// GET  /seen                  the conversations since it was last asked, as evidence
//
// It listens only after the model is loaded: whoever can connect is served.
//
// llama.cpp comes as the prebuilt library of the package node-llama-cpp,
// without that package's JavaScript: this file speaks to the library itself,
// because a server that starts in a blink is worth a lot in an emulated guest.

import {createServer} from "node:http";
import {createRequire} from "node:module";
import {join} from "node:path";
import {parseArgs} from "node:util";
import {getBinsDir} from "@node-llama-cpp/linux-x64";

const {values: options} = parseArgs({options: {
    model: {type: "string"},
    listen: {type: "string", default: "127.0.0.1:8080"}
}});
if (options.model == null) {
    console.error("usage: node server.mjs --model FILE [--listen HOST:PORT]");
    process.exit(2);
}
const colon = options.listen.lastIndexOf(":");
const host = options.listen.slice(0, colon);
const port = Number(options.listen.slice(colon + 1));

const BODY_LIMIT = 1 << 20;
const REMEMBERED = 32;
const CONTEXT = 4096;
const BATCH = 512;
const SEQUENCE = 0;

const binaries = join(getBinsDir().binsDir, "linux-x64");
const library = createRequire(import.meta.url)(join(binaries, "llama-addon.node"));
library.setLogger((level, message) => console.error(`llama.cpp: ${message.trimEnd()}`));
library.setLoggerLogLevel(2); // errors
library.loadBackends(binaries);
await library.init();

const model = new library.AddonModel(options.model, {addonExports: library, gpuLayers: 0, useMmap: true});
if (!await model.init())
    throw new Error(`llama.cpp does not load ${options.model}`);
const context = new library.AddonContext(model, {
    contextSize: CONTEXT, batchSize: BATCH, sequences: 1, threads: 1, flashAttention: true
});
if (!await context.init())
    throw new Error("llama.cpp makes no context");
const sampler = new library.AddonSampler(model);

/** What the context holds: the start of the next prompt is often the same. */
let held = [];

/** Generates up to `limit` tokens after `prompt`. */
async function generate(prompt, limit, temperature) {
    if (prompt.length + limit > CONTEXT)
        throw new RangeError(`${prompt.length} tokens are too many for a context of ${CONTEXT}`);
    let same = 0;
    while (same < held.length && same < prompt.length - 1 && held[same] === prompt[same])
        same++;
    context.removeTokenCellsFromSequence(SEQUENCE, same, -1);
    held = held.slice(0, same);
    sampler.applyConfig({temperature});

    const generated = [];
    let pending = prompt.slice(same);
    while (generated.length < limit) {
        const token = await next(pending);
        if (token === -1 || model.isEogToken(token))
            break;
        generated.push(token);
        pending = [token];
    }
    return model.detokenize(Uint32Array.from(generated), true);
}

/** Evaluates `tokens` batch by batch and samples what follows the last one. */
async function next(tokens) {
    for (let start = 0; start < tokens.length; start += BATCH) {
        const batch = tokens.slice(start, start + BATCH);
        const last = start + BATCH >= tokens.length;
        const wanted = Uint32Array.from(last ? [batch.length - 1] : []);
        context.initBatch(batch.length);
        const places = context.addToBatch(SEQUENCE, held.length, Uint32Array.from(batch), wanted);
        await context.decodeBatch();
        held.push(...batch);
        if (last)
            return await context.sampleToken(places[0], sampler);
    }
    throw new RangeError("nothing to evaluate");
}

/** ChatML. Text of users and tools never becomes a control token. */
function render(messages, tools) {
    const tokens = [];
    const control = (text) => tokens.push(...model.tokenize(text, true));
    const text = (content) => tokens.push(...model.tokenize(content, false));
    const turn = (role, content) => {
        control("<|im_start|>");
        text(`${role}\n${content}`);
        control("<|im_end|>");
        text("\n");
    };
    if (tools?.length > 0)
        turn("system", `Tools:\n${tools.map((tool) => JSON.stringify(tool.function)).join("\n")}`);
    for (const message of messages) {
        if (message.role === "tool")
            turn("user", `<tool_response>\n${message.content}\n</tool_response>`);
        else if (message.tool_calls?.length > 0)
            turn("assistant", message.tool_calls.map(renderCall).join(""));
        else
            turn(message.role, message.content ?? "");
    }
    control("<|im_start|>");
    text("assistant\n");
    return tokens;
}

function renderCall({function: call}) {
    return `<tool_call>\n{"name":${JSON.stringify(call.name)},"arguments":${call.arguments}}\n</tool_call>`;
}

/** Splits generated text into what is said and which tools are called. */
function parseReply(text, tools) {
    const known = new Set((tools ?? []).map((tool) => tool.function.name));
    const calls = [];
    const content = text.replace(/<tool_call>\s*([\s\S]*?)\s*<\/tool_call>/g, (whole, body) => {
        try {
            const call = JSON.parse(body);
            if (!known.has(call.name))
                return whole;
            calls.push({
                id: `call_${calls.length}`,
                type: "function",
                function: {name: call.name, arguments: JSON.stringify(call.arguments)}
            });
            return "";
        } catch {
            return whole;
        }
    });
    return calls.length > 0
        ? {role: "assistant", content: null, tool_calls: calls}
        : {role: "assistant", content};
}

const seen = [];
async function complete({messages, tools, max_tokens: maxTokens = 64, temperature = 0}) {
    if (!Array.isArray(messages) || messages.length === 0)
        throw new TypeError("messages must be a list with at least one message");
    const prompt = render(messages, tools);
    const text = await generate(prompt, maxTokens, temperature);
    const message = parseReply(text, tools);
    seen.push({messages, reply: message});
    seen.splice(0, Math.max(0, seen.length - REMEMBERED));
    return {
        id: `chatcmpl-${Date.now()}`,
        object: "chat.completion",
        created: Math.floor(Date.now() / 1000),
        model: "scripted",
        choices: [{index: 0, message, finish_reason: message.tool_calls ? "tool_calls" : "stop"}],
        usage: {prompt_tokens: prompt.length}
    };
}

async function body(request) {
    const chunks = [];
    let size = 0;
    for await (const chunk of request) {
        size += chunk.length;
        if (size > BODY_LIMIT)
            throw new RangeError(`the request is larger than ${BODY_LIMIT} bytes`);
        chunks.push(chunk);
    }
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

// One context sequence, hence one completion at a time, in order of arrival.
let queue = Promise.resolve();
function inOrder(work) {
    const result = queue.then(work);
    queue = result.catch(() => undefined);
    return result;
}

async function answer(request) {
    const route = `${request.method} ${request.url}`;
    if (route === "GET /health")
        return [200, {status: "ok"}];
    if (route === "GET /seen")
        return [200, seen.splice(0)];
    if (route === "POST /v1/chat/completions") {
        const asked = await body(request);
        return [200, await inOrder(() => complete(asked))];
    }
    return [404, {error: {message: `no such route: ${route}`}}];
}

createServer(async (request, response) => {
    let status, reply;
    try {
        [status, reply] = await answer(request);
    } catch (error) {
        [status, reply] = [400, {error: {message: String(error?.message ?? error)}}];
    }
    const payload = JSON.stringify(reply);
    response.writeHead(status, {"content-type": "application/json", "content-length": Buffer.byteLength(payload)});
    response.end(payload);
}).listen(port, host, () => console.log(`serving ${options.model} on http://${host}:${port}`));
