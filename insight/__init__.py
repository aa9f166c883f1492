"""Promptable instance segmentation of remote sensing images."""

from .version import __version__

__all__ = ["__version__"]
