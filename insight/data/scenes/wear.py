"""What time and use do to the paint of objects: dirt, second colours, things on deck, uneven light."""

from __future__ import annotations

import cv2
import numpy as np

from .textures import smooth_noise

_SHARE = 0.4  # of the objects that get each kind of wear
_LEAST = 12  # pixels on the canvas: shorter objects show nothing of it


def wear(rng: np.random.Generator, image: np.ndarray, inside: np.ndarray) -> None:
    """Change the colours of an object in place.

    Args:
        rng: source of randomness.
        image: (h, w, 3) uint8 RGB, the window around the object.
        inside: (h, w) bool, the object's pixels in it.
    """
    size = inside.shape
    if max(size) < _LEAST:
        return
    chosen = rng.random(4) < _SHARE
    worn = image.astype(np.float32)
    if chosen[0]:  # another colour beyond a line across or along the object
        worn[_beyond_a_line(rng, size)] *= rng.uniform(0.5, 1.6) * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if chosen[1]:  # camouflage, rust, dirt
        patches = smooth_noise(rng, size, max(3.0, rng.uniform(0.1, 0.35) * max(size))) > rng.uniform(0.0, 1.2)
        worn[patches] *= rng.uniform(0.5, 1.1) * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if chosen[2]:
        _cargo(rng, worn)
    if chosen[3]:  # a roof or fuselage that bends away from the light
        across = _along_a_line(rng, size)
        worn *= (1 + rng.uniform(0.1, 0.45) * across)[:, :, None]
    np.copyto(image, np.clip(worn, 0, 255).astype(np.uint8), where=inside[:, :, None])


def _along_a_line(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(h, w) distances along a random direction from the middle, about -1 to 1 over the window."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in size)
    return np.float32(np.cos(angle)) * x[None, :] + np.float32(np.sin(angle)) * y[:, None]


def _beyond_a_line(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return _along_a_line(rng, size) > rng.uniform(-0.5, 0.5)


def _cargo(rng: np.random.Generator, image: np.ndarray) -> None:
    """Hatches, covers, loads: small rotated rectangles of any colour."""
    height, width = image.shape[:2]
    for _ in range(rng.integers(1, 7)):
        centre = (rng.uniform(0, width), rng.uniform(0, height))
        sides = rng.uniform(0.05, 0.3, 2) * min(height, width)
        corners = cv2.boxPoints((centre, tuple(sides), rng.uniform(0, 90)))
        grey, tint = rng.uniform(20, 240), rng.uniform(-40, 40, 3)
        cv2.fillConvexPoly(image, np.rint(corners).astype(np.int32), tuple(grey + tint))
