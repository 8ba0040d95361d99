"""What the agent-framework integrations share: thread-safe calls, async calls, context for prompts."""
