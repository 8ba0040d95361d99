"""`seal-memory serve`: an OpenAI-compatible server whose model remembers, and the memory's own API under /v1/memory.

Thin route modules: parse the request, call `SealMemory`, return the result. Needs the extra `[server]`; only the
command `serve` imports this package. Not here: the memory itself (`seal_memory.memory`).
"""
