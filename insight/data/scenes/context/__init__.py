"""Scenes whose objects only their surroundings tell apart: for studies of what a model reads around a box."""

from .scene import CONTEXT_CATEGORIES, draw_context_scene

__all__ = ["CONTEXT_CATEGORIES", "draw_context_scene"]
