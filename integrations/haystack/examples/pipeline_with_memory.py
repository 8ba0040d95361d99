"""A Haystack pipeline whose generator is a memory behind seal-memory's server.

    python pipeline_with_memory.py http://127.0.0.1:8000/v1 KEY "What is the alarm code of the boathouse?"

Needs `pip install haystack-ai` and a running server.
"""

from __future__ import annotations

import sys

from haystack import Pipeline
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret


def pipeline(base_url: str, key: str) -> Pipeline:
    """A prompt builder and a generator that remembers."""
    made = Pipeline()
    made.add_component(
        "prompt", ChatPromptBuilder(template=[ChatMessage.from_user("{{question}}")], required_variables=["question"])
    )
    made.add_component(
        "memory", OpenAIChatGenerator(model="seal-memory", api_base_url=base_url, api_key=Secret.from_token(key))
    )
    made.connect("prompt.prompt", "memory.messages")
    return made


if __name__ == "__main__":
    result = pipeline(*sys.argv[1:3]).run({"prompt": {"question": sys.argv[3]}})
    print("memory:", result["memory"]["replies"][0].text)
