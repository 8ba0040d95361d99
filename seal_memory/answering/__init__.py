"""Answering: from one question or chat to an answer, by weights, text, or both."""
