"""Figures, overlays of instances, pictures of datasets, training curves."""
