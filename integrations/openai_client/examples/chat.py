"""The plain OpenAI client talks to a memory through seal-memory's server, like to any model.

    python chat.py http://127.0.0.1:8000/v1 KEY "What is the alarm code of the boathouse?"

Needs `pip install openai` and a running server; the key is one of the server's.
"""

from __future__ import annotations

import asyncio
import sys

from openai import AsyncOpenAI, OpenAI, OpenAIError


def chat(base_url: str, key: str, text: str) -> str:
    """One answer."""
    client = OpenAI(base_url=base_url, api_key=key)
    done = client.chat.completions.create(model="seal-memory", messages=[{"role": "user", "content": text}])
    return done.choices[0].message.content or ""


async def chat_async(base_url: str, key: str, text: str) -> str:
    """The same, without blocking the event loop."""
    client = AsyncOpenAI(base_url=base_url, api_key=key)
    done = await client.chat.completions.create(model="seal-memory", messages=[{"role": "user", "content": text}])
    return done.choices[0].message.content or ""


if __name__ == "__main__":
    try:
        print("sync:", chat(*sys.argv[1:4]))
        print("async:", asyncio.run(chat_async(*sys.argv[1:4])))
    except OpenAIError as error:
        sys.exit(f"{type(error).__name__}: {error}")
