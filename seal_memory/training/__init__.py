"""Training: who trains a memory and when: the trainer, the worker, its thread."""
