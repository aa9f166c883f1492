"""Datasets, mappers and the built-in synthetic scenes.

Importing this package loads nothing; importing `insight.data.datasets` registers the datasets with Detectron2.
"""
