"""What scenes are built from: materials, and convex parts that make up objects; all lengths in metres."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Material:
    """A surface as both sensors see it.

    Args:
        rgb: colour in sunlight, 0 to 255.
        radar: backscatter in decibel; calm water is about -26, soil -12, painted metal 0 and more.
    """

    rgb: tuple[int, int, int]
    radar: float

    def shaded(self, factor: float) -> Material:
        """The same material, brighter (factor > 1) or darker."""
        red, green, blue = (min(255, max(0, round(c * factor))) for c in self.rgb)
        return Material((red, green, blue), self.radar)


@dataclass(frozen=True)
class Part:
    """A convex prism.

    Args:
        outline: (N, 2) float array, metres, convex, in the frame of its object: x forward, y to the right.
        material: what it is made of.
        height: of its top above the ground, metres; it sets the length of the shadow and how far an oblique view
            displaces the top. 0 for paint and windows, which lie on the part before them.
        solid: whether it belongs to the mask of the object. Masts, windows and markings do not.
        base: height of its underside above the ground, metres: a wing has no wall down to the apron.
    """

    outline: np.ndarray
    material: Material
    height: float = 0.0
    solid: bool = True
    base: float = 0.0


def rectangle(cx: float, cy: float, length: float, width: float) -> np.ndarray:
    """(4, 2) corners of a rectangle, `length` along x."""
    dx, dy = length / 2, width / 2
    return np.array([[cx - dx, cy - dy], [cx + dx, cy - dy], [cx + dx, cy + dy], [cx - dx, cy + dy]])


def chamfered(cx: float, cy: float, length: float, width: float, cut: float) -> np.ndarray:
    """(8, 2) rectangle whose corners are cut off by `cut`."""
    dx, dy = length / 2, width / 2
    c = min(cut, 0.49 * length, 0.49 * width)
    xs = np.array([-dx + c, dx - c, dx, dx, dx - c, -dx + c, -dx, -dx])
    ys = np.array([-dy, -dy, -dy + c, dy - c, dy, dy, dy - c, -dy + c])
    return np.stack([cx + xs, cy + ys], axis=1)


def ellipse(cx: float, cy: float, rx: float, ry: float, points: int = 32) -> np.ndarray:
    """(points, 2) polygon inscribed in an ellipse."""
    return _circle(points) * (rx, ry) + (cx, cy)


@functools.cache
def _circle(points: int) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def mirrored(outline: np.ndarray) -> np.ndarray:
    """The outline on the other side of the object's long axis."""
    return outline * np.array([1.0, -1.0])
