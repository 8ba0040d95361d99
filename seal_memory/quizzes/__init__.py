"""Quizzes: generation from the source, the gates an item must pass, grading."""
