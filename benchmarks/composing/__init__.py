"""Composition: requests that need a remembered value inside an answer of another form."""
