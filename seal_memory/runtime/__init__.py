"""Runtime: opening models, engines and adapters for one memory, and exporting them."""
