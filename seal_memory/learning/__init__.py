"""Learning: batches, the inner loop, the publish gate, consolidation."""
