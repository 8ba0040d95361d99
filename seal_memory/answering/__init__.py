"""Answering a question or a chat: by weights, by text, or both."""
