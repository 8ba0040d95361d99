"""Parts that several agent-framework integrations share: threads and event loops, prompt context, error translation."""
