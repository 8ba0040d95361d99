"""Forgetting: deletion and correction, audits of published shards, the retention matrix."""
