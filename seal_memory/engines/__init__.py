"""Engines: find and load models, generate, score and train."""
