"""From a plan to a results file: systems by name, journals, figures, provenance. Not here: any measuring."""
