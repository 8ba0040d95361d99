"""`seal-memory serve`: an OpenAI-compatible server whose model remembers, and the memory's own API under /v1/memory.

Thin rooms that parse, call `SealMemory`, and show what came back. Needs the extra `[server]`; nothing outside this
package and its command imports it. Not here: the memory itself, training (`pool_trainer`), a page for people.
"""
