"""Polygons that contain exactly the pixels of a mask."""

import numpy as np

# Directions of travel along pixel edges, with the mask on the right hand: right, down, left, up (y points down).
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def mask_to_polygons(mask: np.ndarray, origin: tuple[int, int] = (0, 0)) -> list[np.ndarray]:
    """Outline a mask along the edges of its pixels.

    Rasterised by COCO's rule, the outlines reproduce the mask. COCO polygons cannot have holes, so a part with a hole
    is cut in two through the hole.

    Args:
        mask: (h, w) bool.
        origin: (x, y) of the mask's first pixel in the image.

    Returns:
        One (N, 2) int64 array of corners (x, y) in pixels for each 4-connected part; pixel i covers [i, i + 1).
    """
    outlines, holes = mask_rings(mask)
    if not holes:
        return [outline + np.array(origin) for outline in outlines]
    starts = sorted(int(hole[:, 0].min()) for hole in holes)
    # Through the first column of pixels of the middle hole, so that each side has at most half of the holes.
    cut = starts[len(starts) // 2] + 1
    x0, y0 = origin
    return mask_to_polygons(mask[:, :cut], origin) + mask_to_polygons(mask[:, cut:], (x0 + cut, y0))


def mask_rings(mask: np.ndarray, origin: tuple[int, int] = (0, 0)) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Outline a mask along the edges of its pixels, with its holes apart.

    Args:
        mask: (h, w) bool.
        origin: (x, y) of the mask's first pixel in the image.

    Returns:
        The outlines of its 4-connected parts, and those of its holes: (N, 2) int64 arrays of corners (x, y) in pixels,
        clockwise on the screen around parts, counter-clockwise around holes.
    """
    outlines: list[np.ndarray] = []
    holes: list[np.ndarray] = []
    for outline in _loops(np.asarray(mask, bool)):
        x, y = outline.T
        area = np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))
        (outlines if area > 0 else holes).append(outline + np.array(origin))
    return outlines, holes


def _loops(mask: np.ndarray) -> list[np.ndarray]:
    """Closed loops of corners: clockwise on the screen around parts, counter-clockwise around holes."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    sides = (  # edges that bound the mask, by direction, with the offset from the pixel to where the edge starts
        (inside & ~padded[:-2, 1:-1], (0, 0)),
        (inside & ~padded[1:-1, 2:], (1, 0)),
        (inside & ~padded[2:, 1:-1], (1, 1)),
        (inside & ~padded[1:-1, :-2], (0, 1)),
    )
    leaving: dict[tuple[int, int], list[int]] = {}
    for direction, (edges, (dx, dy)) in enumerate(sides):
        rows, columns = np.nonzero(edges)
        for start in zip((columns + dx).tolist(), (rows + dy).tolist()):
            leaving.setdefault(start, []).append(direction)
    loops = []
    while leaving:
        start = at = next(iter(leaving))
        heading, corners = leaving[start][0], []
        previous: int | None = None
        while True:
            choices = leaving[at]
            if previous is not None:
                # Where two parts touch at a corner, the right turn stays with the same part.
                last = previous
                heading = min(choices, key=lambda d: (last + 1 - d) % 4)
            choices.remove(heading)
            if not choices:
                del leaving[at]
            if heading != previous:
                corners.append(at)
            previous = heading
            at = (at[0] + _STEPS[heading][0], at[1] + _STEPS[heading][1])
            if at == start and (start not in leaving or (heading + 1) % 4 not in leaving[start]):
                break
        loops.append(np.array(corners))
    return loops
