"""Music library: tracks with embeddings, similarity search, and playlist recommendation."""
