"""Benches of models of the six classes on synthetic sites."""
