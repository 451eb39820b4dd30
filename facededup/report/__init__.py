"""Writers of findings and of the other results, for people and for programs."""
