"""Private helpers and tables of seal-memory, which may change at any time."""
