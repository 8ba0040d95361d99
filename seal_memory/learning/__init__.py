"""Learning: training plans, the inner loop, grading, the publish gate, consolidation."""
