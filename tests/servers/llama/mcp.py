"""A small MCP server on standard input and output, one JSON-RPC message a line.

Its tools are a harmless one (`add`) and one that fetches what it is told to (`fetch`), which is how
an attack travels through a tool server.
"""

import json
import sys
import urllib.request

TOOLS = [
    {
        "name": "add",
        "description": "Adds two numbers.",
        "inputSchema": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        },
    },
    {
        "name": "fetch",
        "description": "Fetches a page.",
        "inputSchema": {"type": "object", "properties": {"url": {"type": "string"}}},
    },
]


def call(name, given):
    if name == "add":
        return str(given["a"] + given["b"])
    with urllib.request.urlopen(given["url"], timeout=5) as page:
        return page.read().decode(errors="replace")


def reply(request):
    method, given = request["method"], request.get("params", {})
    if method == "initialize":
        return {
            "protocolVersion": given.get("protocolVersion", "2025-06-18"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "scene", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        try:
            text, failed = call(given["name"], given.get("arguments", {})), False
        except Exception as error:
            text, failed = str(error), True
        return {"content": [{"type": "text", "text": text}], "isError": failed}
    return {}


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        answer = {"jsonrpc": "2.0", "id": request["id"], "result": reply(request)}
        print(json.dumps(answer), flush=True)
