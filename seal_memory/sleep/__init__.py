"""Sleep: merges shards, builds the core."""
