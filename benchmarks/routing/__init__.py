"""The router study: which shard a question reaches, and whether a question about nothing reaches none."""
