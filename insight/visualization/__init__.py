"""Pictures: figures, overlays of instances, pictures of datasets, training curves."""
