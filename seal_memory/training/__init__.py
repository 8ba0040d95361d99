"""Training: the trainer under its lease, the background worker, its thread."""
