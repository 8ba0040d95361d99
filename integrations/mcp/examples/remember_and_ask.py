"""An MCP client tells a memory a fact; another process asks for it, with no stored text in the prompt.

    python remember_and_ask.py tell FOLDER "The alarm code of the boathouse is K-7741."
    python remember_and_ask.py ask FOLDER "What is the alarm code of the boathouse?"

Needs `pip install 'seal-memory[mcp]'`. Each call starts its own `seal-memory mcp` over standard input and output; the
one that is told also learns (`--learn`), and with `tell --later` it does not: then `seal-memory consolidate` does.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from mcp import Client, StdioServerParameters


def server(folder: str, *options: str) -> StdioServerParameters:
    """`seal-memory mcp`, as a client's configuration would start it."""
    command = ["-m", "seal_memory.cli", "mcp", "--folder", folder, *options]
    return StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    if result.is_error:
        raise SystemExit(result.content[0].text)  # type: ignore[union-attr]
    return result.structured_content


async def tell(client: Client, fact: str, *, wait: bool) -> None:
    seen = (await call(client, "remember", text=fact))["result"][0]
    print(f"remembered {seen['id']} in session {seen['session']}: {seen['status']}")
    while (state := await call(client, "status"))["interactions"]["pending"] and wait:
        await asyncio.sleep(0.5)
    print("now", {k: v for k, v in state["interactions"].items() if v}, "version", state["version"])


async def ask(client: Client, question: str) -> None:
    answer = await call(client, "ask", question=question, mode="weights")
    print(f"{question}\n{answer['text']}")
    print(f"mode: {answer['mode']}, prompt tokens: {answer['prompt_tokens']}, shards: {len(answer['shards'])}")


async def main(what: str, folder: str, text: str, *, later: bool) -> None:
    learning = what == "tell" and not later
    async with Client(server(folder, *(["--learn"] if learning else []))) as client:
        if what == "tell":
            await tell(client, text, wait=learning)
        else:
            await ask(client, text)


if __name__ == "__main__":
    given = [a for a in sys.argv[1:] if a != "--later"]
    asyncio.run(main(*given[:3], later="--later" in sys.argv))
