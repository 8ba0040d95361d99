"""Self-edits: statements, genres of training items, source checks, the model as note-writer, the training plan."""
