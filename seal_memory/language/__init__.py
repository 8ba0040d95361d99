"""Language: pure functions on English text (sentences, spans, quantities, speech acts, cloze questions)."""
