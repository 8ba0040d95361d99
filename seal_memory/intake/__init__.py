"""Intake: what the agent saw, from files, messages or texts, admitted or held back."""
