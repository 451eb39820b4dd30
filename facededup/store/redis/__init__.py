"""A store in a Redis or Valkey server."""
