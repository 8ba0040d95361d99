"""MCP: a memory as a server, for any client that speaks the Model Context Protocol.

Maps types only. `seal-memory mcp` starts it. Not here: training, and where keys are kept.
"""

from __future__ import annotations

from seal_memory_mcp.server import make_server
from seal_memory_mcp.serving import Keys, StaticKey, http_app, serve_http, serve_stdio

__all__ = ["Keys", "StaticKey", "http_app", "make_server", "serve_http", "serve_stdio"]
