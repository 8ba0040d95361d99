"""Quizzes: generation from the source, the filter for answerable items, grading."""
