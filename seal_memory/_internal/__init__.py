"""Parts that no other package should import: tables and helpers that may change at any time."""
