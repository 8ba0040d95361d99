"""Remember across sessions: one process learns what it is told, the next answers without the text in its prompt.

    python examples/remember.py learn ./my-agent "The alarm code of the workshop is K-7741."
    python examples/remember.py ask ./my-agent "What is the alarm code of the workshop?"

Learning takes about a minute on a CPU. SEAL_MEMORY_MODEL names another model than the default.
"""

from __future__ import annotations

import os
import sys

from seal_memory import SealMemory

MODEL = os.environ.get("SEAL_MEMORY_MODEL", "smollm2-135m")


def learn(folder: str, text: str) -> None:
    """Record the text, learn it, and say what the gate decided."""
    with SealMemory.open(folder, model=MODEL) as memory:
        memory.observe(text, session="monday")
        for decision in memory.consolidate().decisions:
            print("published:" if decision.accepted else "refused:", *decision.reasons)


def ask(folder: str, question: str) -> None:
    """Answer from the weights: the prompt is the question alone."""
    with SealMemory.open(folder, model=MODEL) as memory:
        answer = memory.ask(question, mode="weights")
        print("answer:", answer.text)
        print(f"from {len(answer.shards)} shard(s), confidence {answer.confidence:.2f}")


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("learn", "ask"):
        sys.exit(__doc__)
    {"learn": learn, "ask": ask}[sys.argv[1]](sys.argv[2], sys.argv[3])
