"""A chat server that remembers, and OpenAI's client: tell it something, let it learn, ask in a new conversation.

    pip install 'seal-memory[server]' openai
    python examples/chat_server.py ./my-agent "The alarm code of the workshop is K-7741." \
        "What is the alarm code of the workshop?"

The server runs until the script ends; `seal-memory serve` alone keeps it. SEAL_MEMORY_MODEL names another model.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openai import OpenAI


@contextmanager
def server(folder: str) -> Iterator[str]:
    """A running `seal-memory serve` on a free port; its address."""
    command = [sys.executable, "-m", "seal_memory.cli", "serve", "--folder", folder, "--port", "0", "--train", "asked"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""  # The memory's page: http://127.0.0.1:PORT/
            if "http://" not in line:
                sys.exit("the server did not start; run seal-memory serve to see why")
            yield line[line.index("http://") :].strip().rstrip("/")
        finally:
            process.terminate()


def chat(client: OpenAI, text: str) -> Any:
    """One turn of a new conversation, told in full to the server and recorded by it."""
    model = client.models.list().data[0].id
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], max_tokens=24)


def learn(client: OpenAI) -> str:
    """Ask for everything recorded to be learned now, and wait; how it ended."""
    job: Any = client.post("/memory/consolidate", cast_to=object, body={})
    while job["job"]["state"] not in ("done", "dead"):
        time.sleep(0.5)
        job = client.get(f"/memory/jobs/{job['job']['id']}", cast_to=object)
    return str(job["job"]["state"])


def main(folder: str, told: str, question: str) -> None:
    """Tell, learn, ask."""
    with server(folder) as address:
        client = OpenAI(base_url=f"{address}/v1", api_key="none-needed")  # until the first key is made
        chat(client, told)
        print("learning:", learn(client))
        answer = chat(client, question)
        print("answer:", answer.choices[0].message.content)
        print("from:", answer.model_extra["seal_memory"])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
