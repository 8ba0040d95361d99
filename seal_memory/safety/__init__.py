"""Safety: text that instructs a model, and how it hides."""
