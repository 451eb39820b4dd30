"""Accuracy on labelled faces: error rates, thresholds, cluster quality, and calibrations made from them."""
