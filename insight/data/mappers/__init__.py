"""Mappers from dataset dicts to model inputs."""
