"""Runtime: loading the model, engines and adapters of one memory, and exporting them."""
