"""Finding image files and turning their bytes into upright pixels."""
