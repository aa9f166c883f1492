"""Shapes in a box that need no image: the box itself and a superellipse, as pixels."""

import numpy as np


def box_window(corners: np.ndarray, image_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the part of an image that holds every pixel of a box.

    Args:
        corners: (4, 2) XY, image pixels.
        image_size: (height, width) in pixels.

    Returns:
        (x0, y0, x1, y1) in pixels, inside the image, x1 and y1 exclusive; without area if the box lies outside.
    """
    height, width = image_size
    (x0, y0), (x1, y1) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    x0, y0 = min(max(int(x0), 0), width), min(max(int(y0), 0), height)
    return x0, y0, max(x0, min(int(x1), width)), max(y0, min(int(y1), height))


def pixels_in_box(corners: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """Return which pixel centres lie in a box.

    Args:
        corners: (4, 2) XY, image pixels, consecutive corners.
        window: (x0, y0, x1, y1), image pixels, x1 and y1 exclusive.

    Returns:
        (y1 - y0, x1 - x0) bool.
    """
    x0, y0, x1, y1 = window
    x, y = np.arange(x0, x1) + 0.5, (np.arange(y0, y1) + 0.5)[:, None]
    inside = np.zeros((y1 - y0, x1 - x0), bool)
    # A ray to the right of a point in the box crosses an odd number of its sides.
    for (ax, ay), (bx, by) in zip(corners.astype(float), np.roll(corners, -1, 0).astype(float)):
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return inside


def pixels_in_superellipse(corners: np.ndarray, exponent: float, window: tuple[int, int, int, int]) -> np.ndarray:
    """Return which pixel centres lie in the superellipse that touches the sides of a rectangle.

    It holds the points with |2u / width|^p + |2v / height|^p <= 1, with u and v along the rectangle's axes from its
    centre: an ellipse for p = 2, more and more of the rectangle for larger p.

    Args:
        corners: (4, 2) XY, image pixels, consecutive corners of a rectangle with area.
        exponent: p.
        window: (x0, y0, x1, y1), image pixels, x1 and y1 exclusive.

    Returns:
        (y1 - y0, x1 - x0) bool.
    """
    x0, y0, x1, y1 = window
    corners = corners.astype(float)
    half_width, half_height = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    x, y = np.arange(x0, x1) + 0.5, (np.arange(y0, y1) + 0.5)[:, None]
    centre = corners.mean(0)
    across, along = (
        np.abs((x - centre[0]) * half[0] + (y - centre[1]) * half[1]) / (half @ half)
        for half in (half_width, half_height)
    )
    with np.errstate(over="ignore"):  # far outside
        return across**exponent + along**exponent <= 1
