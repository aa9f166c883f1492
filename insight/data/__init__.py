"""Data sets, mappers and the built-in synthetic scenes.

The scenes need no Detectron2; importing this package registers the data sets where it is installed.
"""

import importlib.util

if importlib.util.find_spec("detectron2") is not None:
    from . import datasets  # noqa: F401
