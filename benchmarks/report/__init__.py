"""From results (JSON) to pictures, one page, and the tables of docs/results.md."""
