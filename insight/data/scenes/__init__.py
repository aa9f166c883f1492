"""Built-in synthetic overhead scenes with exact masks and oriented boxes, drawn from a seed."""

from .scene import CATEGORIES, KINDS, LOOKS, Scene, SceneInstance, draw_scene, generator_version

__all__ = ["CATEGORIES", "KINDS", "LOOKS", "Scene", "SceneInstance", "draw_scene", "generator_version"]
