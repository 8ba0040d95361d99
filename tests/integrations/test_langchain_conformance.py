"""LangChain's own standard tests, over a tiny random model; `LANGCHAIN_TESTS_MODEL=smollm2-135m` takes a real one.

What the suites skip, and why: tool calls, tool choice and structured output, as the default model's chat template has
no place for tools and no call can be forced; images, audio, PDF and Anthropic's blocks, as the model reads only text;
another model by name, as a memory's adapters belong to one; JSON mode, as nothing constrains decoding; recorded
traffic, as nothing goes over a network; serialisation and construction from the environment, as a memory is an open
folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seal_memory import SealMemory

pytest.importorskip("langchain", reason="LangChain is not installed: pip install seal-memory[langchain]")
pytest.importorskip("langchain_tests", reason="LangChain's test suite is not installed: pip install langchain-tests")

from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import (
    ChatModelIntegrationTests,
    RetrieversIntegrationTests,
    ToolsIntegrationTests,
)
from langchain_tests.unit_tests import ChatModelUnitTests, ToolsUnitTests

from seal_memory_langchain import ChatSealMemory, SealMemoryRetriever, memory_tools

MODEL = os.environ.get("LANGCHAIN_TESTS_MODEL")


@pytest.fixture(scope="module")
def opened(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, easy_settings: Callable[..., Any]
) -> Iterator[SealMemory]:
    """One memory for all of this file: the suites only read."""
    model = MODEL or str(tiny_model_folder)
    with SealMemory.open(tmp_path_factory.mktemp("langchain"), model=model, settings=easy_settings()) as memory:
        memory.observe([f"The boat number {n} lies at the quay of Korrin Bay." for n in range(4)])
        yield memory


class _WithMemory:
    @pytest.fixture(autouse=True)
    def _memory(self, opened: SealMemory) -> None:
        self.memory = opened


class _Chat(_WithMemory):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatSealMemory

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """Sampled: a random model's likeliest token, again and again, may be white space."""
        return {"memory": self.memory, "max_tokens": 24, "temperature": 0.0 if MODEL else 1.0}

    @property
    def supports_model_override(self) -> bool:
        """A memory's adapters belong to one base model."""
        return False


class TestChatModelUnit(_Chat, ChatModelUnitTests):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"memory": self.memory}


class TestChatModelIntegration(_Chat, ChatModelIntegrationTests):
    @property
    def has_tool_calling(self) -> bool:
        """The default model's chat template has no place for tools."""
        return False

    @property
    def has_tool_choice(self) -> bool:
        """No call can be forced: nothing constrains decoding."""
        return False

    @property
    def has_structured_output(self) -> bool:
        """It is made of a forced tool call."""
        return False


class TestRetriever(_WithMemory, RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return SealMemoryRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"memory": self.memory}

    @property
    def retriever_query_example(self) -> str:
        return "Which boat lies at the quay?"


class _Tool(_WithMemory):
    name: str
    example: dict[str, Any]

    @property
    def tool_constructor(self) -> BaseTool:
        return next(t for t in memory_tools(self.memory) if t.name == self.name)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return self.example


class _Remember(_Tool):
    name, example = "remember", {"text": "Elspeth Corran leads the port office."}


class _Recall(_Tool):
    name, example = "recall", {"query": "Which boat lies at the quay?", "limit": 2}


class _Forget(_Tool):
    name, example = "forget", {"ids": ["an id that nothing has"]}  # the tool says so, and nothing is destroyed


class TestRememberUnit(_Remember, ToolsUnitTests):
    pass


class TestRecallUnit(_Recall, ToolsUnitTests):
    pass


class TestForgetUnit(_Forget, ToolsUnitTests):
    pass


class TestRememberIntegration(_Remember, ToolsIntegrationTests):
    pass


class TestRecallIntegration(_Recall, ToolsIntegrationTests):
    pass


class TestForgetIntegration(_Forget, ToolsIntegrationTests):
    pass
