"""Finding faces in pixels and cutting them out aligned."""
