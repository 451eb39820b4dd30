"""Where images, faces, embeddings, findings and decisions are kept."""
