"""Serves the tools over the Model Context Protocol on stdin and stdout. Needs the package `mcp`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import mcp_types as types
import orjson
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from gateway.mcp.asking import Ask, NotAnswered
from gateway.mcp.tools import Tool

INSTRUCTIONS: Final = (
    "Reads one account of a prepaid billing ledger. Amounts are exact decimal strings in the account's currency; times "
    "are UTC. Lists are newest first: pass pageInfo.endCursor as `after` for older rows. Nothing can be changed."
)


def _described(tool: Tool) -> types.Tool:
    reads = types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    return types.Tool(name=tool.name, description=tool.description, input_schema=tool.input_schema, annotations=reads)


def _text(text: str, *, is_error: bool = False, data: dict[str, Any] | None = None) -> types.CallToolResult:
    content = types.TextContent(type="text", text=text)
    return types.CallToolResult(content=[content], structured_content=data, is_error=is_error)


def build_server(tools: Mapping[str, Tool], ask: Ask) -> Server[Any]:
    async def list_tools(_context: Any, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool) for tool in tools.values()])

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            return _text(f"there is no tool {params.name}: one of {', '.join(tools)}", is_error=True)
        try:
            data = await ask(tool.text, params.arguments or {})
        except NotAnswered as refused:
            return _text(str(refused), is_error=True)
        return _text(orjson.dumps(data).decode(), data=data)

    return Server(
        "billing-gateway",
        version=version("billing-gateway"),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve_stdio(tools: Mapping[str, Tool], ask: Ask) -> None:
    """Ends with stdin."""
    server = build_server(tools, ask)
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())
