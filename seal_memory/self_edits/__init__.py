"""Self-edits: statements, genres, source checks, the model as note-writer, the training plan."""
