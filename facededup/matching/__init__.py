"""Comparing embeddings with each other: flat search, the self-join, clusters."""
