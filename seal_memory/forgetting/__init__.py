"""Forgetting: deletion and correction, with proof. (Retention matrices and audits over time come with the worker.)"""
