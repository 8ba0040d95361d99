"""Routing: which shard a question goes to, or none."""
