"""A smolagents agent asks a memory with a tool; the memory answers through seal-memory's server.

    python agent_with_memory.py http://127.0.0.1:8000/v1 KEY http://MODEL/v1 "What is the alarm code of the boathouse?"

Needs `pip install 'smolagents[openai]'`, a running server, and a model that can write code for the agent at the third
address (the default model of seal-memory is too small for that).
"""

from __future__ import annotations

import sys

from smolagents import CodeAgent, OpenAIModel, Tool


class AskMemory(Tool):
    """What the memory knows."""

    name = "ask_memory"
    description = "Answers a question from the long-term memory of earlier conversations."
    inputs = {"question": {"type": "string", "description": "A question in plain words."}}  # noqa: RUF012
    output_type = "string"

    def __init__(self, base_url: str, key: str) -> None:
        super().__init__()
        self.model = OpenAIModel("seal-memory", api_base=base_url, api_key=key)

    def forward(self, question: str) -> str:
        return str(self.model.generate([{"role": "user", "content": question}]).content)


def run(base_url: str, key: str, agents_url: str, text: str) -> str:
    """The agent's answer."""
    model = OpenAIModel("agent", api_base=agents_url, api_key=key)
    agent = CodeAgent(tools=[AskMemory(base_url, key)], model=model, max_steps=3, verbosity_level=0)
    return str(agent.run(text))


if __name__ == "__main__":
    print("agent:", run(*sys.argv[1:5]))
