"""Sleep: merging shards and building the core."""
