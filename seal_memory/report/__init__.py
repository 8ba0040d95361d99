"""The report: a memory's state as one self-contained HTML page."""
