"""Long-term memory in the weights of a language model."""

from __future__ import annotations

__version__ = "0.1.0"
