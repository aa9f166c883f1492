"""From a dataset dict to a model input."""
