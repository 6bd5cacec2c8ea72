"""An MCP client on the Python SDK that follows a script: see ts.mjs, its twin, for the form of SPEC and of the output.

Usage: python py.py SPEC
"""

import asyncio
import json
import os
import re
import sys

from mcp import Client, MCPError, StdioServerParameters, stdio_client, types
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from login import Person

SPEC = json.loads(sys.argv[1])


def transport(kind: dict, person: Person | None, headers: dict | None = None):
    if "stdio" in kind:
        command, *args = kind["stdio"]
        return stdio_client(StdioServerParameters(command=command, args=args, env=dict(os.environ)), errlog=open(os.devnull, "w"))
    auth = person and person.auth
    if "sse" in kind:
        return sse_client(kind["sse"], auth=auth)
    own = create_mcp_http_client(auth=auth, headers=headers) if auth or headers else None
    return streamable_http_client(kind["http"], http_client=own)


async def sample(_context, _params):
    content = types.TextContent(type="text", text="A scripted answer.")
    return types.CreateMessageResult(model="scripted", role="assistant", content=content)


async def lead(params):
    async with create_mcp_http_client() as browser:
        page = (await browser.get(params.url)).text
    print(json.dumps({"step": "led", "result": re.search("<h1>(.*?)</h1>", page)[1]}), flush=True)
    return types.ElicitResult(action=SPEC["urls"])


async def elicit(_context, params):
    if params.mode == "url" and "urls" in SPEC:
        return await lead(params)
    schema = params.model_dump(by_alias=True).get("requestedSchema") or {}
    kinds = {name: schema["properties"][name].get("type") for name in schema.get("required") or []}
    filled = {name: True if kind == "boolean" else f"scripted {name}" for name, kind in kinds.items()}
    return types.ElicitResult(action="accept", content=filled)


async def roots(_context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///srv/project", name="project")])


async def call(client: Client, params: dict, onprogress):
    if SPEC.get("leaves"):
        # Gone without a word, in the midst of the call.
        asyncio.get_running_loop().call_later(5, os._exit, 0)
    while True:
        result = await client.call_tool(params["name"], params.get("arguments"), progress_callback=onprogress)
        if not SPEC.get("repeats") or not getattr(result.content[0], "text", "").startswith("approval required"):
            return result
        print(json.dumps({"step": "repeats"}), flush=True)


async def run(client: Client, method: str, params: dict, progress: list):
    async def onprogress(done, total, message):
        progress.append({"progress": done, "total": total, "message": message})

    match method:
        case "tools/list":
            return await client.list_tools()
        case "tools/call":
            return await call(client, params, onprogress)
        case "resources/list":
            return await client.list_resources()
        case "resources/templates/list":
            return await client.list_resource_templates()
        case "resources/read":
            return await client.read_resource(params["uri"])
        case "prompts/list":
            return await client.list_prompts()
        case "prompts/get":
            return await client.get_prompt(params["name"], params.get("arguments"))
    raise ValueError(f"no such step: {method}")


async def main(spec: dict):
    info = types.Implementation(name="tollbook-e2e-py", version="1.0.0")
    answers = {"sampling_callback": sample, "elicitation_callback": elicit, "list_roots_callback": roots}
    login, kind = spec.get("login"), spec["transport"]
    person = Person(login, kind.get("http") or kind["sse"]) if login else None
    async with Client(transport(kind, person, spec.get("headers")), mode=spec["version"], client_info=info, **answers) as client:
        for step, params in spec["steps"]:
            if step == "spoil":
                person.spoil()
                print(json.dumps({"step": step}), flush=True)
                continue
            progress: list = []
            line: dict = {"step": step}
            try:
                result = await run(client, step, params, progress)
                line["result"] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
            except MCPError as error:
                line["error"] = {"code": error.error.code, "message": error.error.message}
            # With a version pinned, the first step is the first request.
            if told := person and person.told():
                print(json.dumps({"step": "login", "result": told}), flush=True)
            if progress:
                line["progress"] = progress
            print(json.dumps(line, separators=(",", ":")), flush=True)


asyncio.run(main(SPEC))
