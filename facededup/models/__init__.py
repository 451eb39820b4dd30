"""Recognition models: what they are, where their weights lie, and how faces become embeddings."""
