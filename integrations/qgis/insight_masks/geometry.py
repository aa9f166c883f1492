"""Boxes in pixels, windows around them, outlines, and their measures on the ground. Needs no QGIS.

Points are (x, y). Pixels: x to the right, y down, pixel i covers i to i + 1. A geotransform is GDAL's six numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Point = tuple[float, float]
Ring = list[Point]
Window = tuple[int, int, int, int]  # x0, y0, x1, y1
Matrix = tuple[float, float, float, float]  # a, b, c, d: (x, y) becomes (a x + b y, c x + d y)

ALIGNED = 0.01  # of its area, by which a box may differ from its bounds and still count as horizontal
FOUR_CORNERS = 0.01  # the same for a polygon and the quadrilateral that it is taken for
SQUARE = 0.01  # two sides closer than this, relative to the longer one, count as equal
AT_ONCE = 16  # boxes of a request, so that a slow server answers in time and progress is seen
_CELL = 1024  # pixels: boxes with their centres in one cell are asked together
_LEAST_MARGIN = 16  # pixels around a box
_SEMI_MAJOR, _ECCENTRICITY = 6378137.0, 6.69437999014e-3  # of WGS 84; the latter squared


def to_map(geotransform: Sequence[float], points: Sequence[Point]) -> Ring:
    """Transform points from pixels to the map."""
    x0, a, b, y0, c, d = geotransform
    return [(x0 + a * x + b * y, y0 + c * x + d * y) for x, y in points]


def to_pixels(geotransform: Sequence[float], points: Sequence[Point]) -> Ring:
    """Transform points from the map to pixels."""
    x0, a, b, y0, c, d = geotransform
    determinant = a * d - b * c
    moved = [((x - x0) / determinant, (y - y0) / determinant) for x, y in points]
    return [(d * x - b * y, a * y - c * x) for x, y in moved]


def signed_area(ring: Sequence[Point]) -> float:
    """Area of a ring: in pixels positive if it runs clockwise on the screen, on a map if counter-clockwise."""
    following = [*ring[1:], ring[0]]
    return sum(x * y2 - x2 * y for (x, y), (x2, y2) in zip(ring, following)) / 2


def bounds(points: Sequence[Point]) -> tuple[float, float, float, float]:
    """Return x_min, y_min, x_max, y_max."""
    xs, ys = zip(*points)
    return min(xs), min(ys), max(xs), max(ys)


def is_aligned(ring: Sequence[Point]) -> bool:
    """Return whether a polygon fills its bounds."""
    x0, y0, x1, y1 = bounds(ring)
    return abs(signed_area(ring)) >= (1 - ALIGNED) * (x1 - x0) * (y1 - y0)


def convex_hull(points: Sequence[Point]) -> Ring:
    """Return the corners of the convex hull, without those on a straight side (Andrew's monotone chain)."""
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered

    def half(points: Sequence[Point]) -> Ring:
        chain: Ring = []
        for x, y in points:
            while len(chain) > 1:
                (x1, y1), (x2, y2) = chain[-2:]
                if (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        return chain[:-1]

    return half(ordered) + half(ordered[::-1])


def box_corners(ring: Sequence[Point]) -> Ring:
    """Take a polygon for an oriented box.

    Args:
        ring: its outline, with an area.

    Returns:
        Its four corners if it is a quadrilateral, else those of the smallest rectangle around it.
    """
    hull = convex_hull(ring)
    whole = abs(signed_area(hull))
    corners = list(hull)
    while len(corners) > 4:  # corners that nearly lie on a straight side
        losses = [_triangle(corners[i - 1], corners[i], corners[(i + 1) % len(corners)]) for i in range(len(corners))]
        corners.pop(losses.index(min(losses)))
    filled = abs(signed_area(ring)) >= (1 - FOUR_CORNERS) * whole
    if len(corners) == 4 and filled and whole - abs(signed_area(corners)) <= FOUR_CORNERS * whole:
        return corners
    return smallest_rectangle(hull)[0]


def smallest_rectangle(points: Sequence[Point]) -> tuple[Ring, float, float, float]:
    """Compute the rectangle of least area around points; one of its sides lies on a side of their hull.

    Args:
        points: with an area.

    Returns:
        Its corners, the direction of its longer side in degrees from the x axis towards the y axis (0 to 180, of
        squares 0 to 90), the longer side and the shorter one.
    """
    hull = convex_hull(points)
    best = None
    for (x1, y1), (x2, y2) in zip(hull, [*hull[1:], hull[0]]):
        length = math.hypot(x2 - x1, y2 - y1)
        dx, dy = (x2 - x1) / length, (y2 - y1) / length
        u0, v0, u1, v1 = bounds([(x * dx + y * dy, y * dx - x * dy) for x, y in hull])
        if best is None or (u1 - u0) * (v1 - v0) < best[0]:
            best = ((u1 - u0) * (v1 - v0), dx, dy, (u0, v0, u1, v1))
    _, dx, dy, (u0, v0, u1, v1) = best
    corners = [(u * dx - v * dy, u * dy + v * dx) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))]
    along, across = u1 - u0, v1 - v0
    longer, shorter = max(along, across), min(along, across)
    direction = math.degrees(math.atan2(dy, dx)) + (0.0 if along >= across else 90.0)
    return corners, direction % (90.0 if longer - shorter <= SQUARE * longer else 180.0), longer, shorter


def box_window(corners: Sequence[Point], size: tuple[int, int]) -> Window:
    """Return the window of a raster that a box is answered from: twice as far as the object reaches.

    Args:
        corners: of the box, pixels; it touches the raster.
        size: (height, width) of the raster.
    """
    x0, y0, x1, y1 = bounds(corners)
    margin = max(x1 - x0, y1 - y0) + _LEAST_MARGIN
    height, width = size
    left, top = max(0, math.floor(x0 - margin)), max(0, math.floor(y0 - margin))
    return left, top, min(width, math.ceil(x1 + margin)), min(height, math.ceil(y1 + margin))


def group_boxes(boxes: Sequence[Sequence[Point]], size: tuple[int, int]) -> list[tuple[Window, list[int]]]:
    """Group boxes that are near each other, so that the windows around them are cut out together.

    Args:
        boxes: corners of each, pixels.
        size: (height, width) of the raster.

    Returns:
        Windows, and the indices of the boxes that are answered from each.
    """
    cells: dict[tuple[int, int], list[int]] = {}
    for i, corners in enumerate(boxes):
        x0, y0, x1, y1 = bounds(corners)
        cells.setdefault((int((y0 + y1) // (2 * _CELL)), int((x0 + x1) // (2 * _CELL))), []).append(i)
    groups = []
    for _, members in sorted(cells.items()):
        for start in range(0, len(members), AT_ONCE):
            part = members[start : start + AT_ONCE]
            windows = [box_window(boxes[i], size) for i in part]
            low, high = [min(w[k] for w in windows) for k in (0, 1)], [max(w[k] for w in windows) for k in (2, 3)]
            groups.append(((low[0], low[1], high[0], high[1]), part))
    return groups


def tiles(window: Window, side: int, overlap: int) -> list[tuple[Window, tuple[float, float, float, float]]]:
    """Cut a window into overlapping tiles.

    Args:
        window: the window.
        side: of a tile.
        overlap: of neighbours.

    Returns:
        Tiles, and the core of each: an object is taken from the tile whose core holds its centre.
    """

    def spans(low: int, high: int) -> list[tuple[int, int, float, float]]:
        count = max(1, math.ceil((high - low - overlap) / (side - overlap)))
        starts = [low + i * (side - overlap) for i in range(count)]
        return [
            (
                start,
                min(high, start + side),
                -math.inf if start == low else start + overlap / 2,
                math.inf if start == starts[-1] else start + side - overlap / 2,
            )
            for start in starts
        ]

    return [
        ((x0, y0, x1, y1), (left, top, right, bottom))
        for y0, y1, top, bottom in spans(window[1], window[3])
        for x0, x1, left, right in spans(window[0], window[2])
    ]


def parts(rings: Sequence[Sequence[Point]]) -> list[list[Ring]]:
    """Sort the rings of an answer into parts.

    Args:
        rings: of one mask, pixels: clockwise on the screen around a part, its holes behind it and the other way.

    Returns:
        For each part its outline and its holes.
    """
    found: list[list[Ring]] = []
    for ring in rings:
        points = [(float(x), float(y)) for x, y in ring]
        if signed_area(points) > 0 or not found:
            found.append([points])
        else:
            found[-1].append(points)
    return found


def on_map(geotransform: Sequence[float], of_pixels: Sequence[Sequence[Ring]]) -> list[list[Ring]]:
    """Transform parts to the map: outlines run counter-clockwise there, holes clockwise; rings are closed."""
    found = []
    for part in of_pixels:
        rings = []
        for number, ring in enumerate(part):
            points = to_map(geotransform, ring)
            if (signed_area(points) > 0) == (number > 0):
                points.reverse()
            rings.append([*points, points[0]])
        found.append(rings)
    return found


def ground_matrix(to_degrees: Callable[[Point], Point], centre: Point, step: float) -> Matrix:
    """Compute the matrix from differences of coordinates near a place to metres east and north on WGS 84.

    Args:
        to_degrees: from the map to longitude and latitude.
        centre: the place on the map.
        step: about a metre, in units of the map.

    Returns:
        The matrix.
    """
    latitude = math.radians(to_degrees(centre)[1])
    curvature = 1 - _ECCENTRICITY * math.sin(latitude) ** 2
    east = math.radians(_SEMI_MAJOR / math.sqrt(curvature) * math.cos(latitude))
    north = math.radians(_SEMI_MAJOR * (1 - _ECCENTRICITY) / curvature**1.5)
    columns = []
    for move in ((step, 0.0), (0.0, step)):
        after, before = (to_degrees((centre[0] + s * move[0], centre[1] + s * move[1])) for s in (1, -1))
        changes = [((now - then + 180) % 360 - 180) / (2 * step) for now, then in zip(after, before)]  # date line
        columns.append((changes[0] * east, changes[1] * north))
    (a, c), (b, d) = columns
    return a, b, c, d


def measures(of_map: Sequence[Sequence[Ring]], matrix: Matrix) -> tuple[float, float, float, float]:
    """Measure an object on the ground.

    Args:
        of_map: parts of it on the map, with an area.
        matrix: of `ground_matrix`.

    Returns:
        Area; direction of the longer side of the smallest rectangle around it, degrees counter-clockwise from east;
        longer and shorter side.
    """
    a, b, c, d = matrix
    outlines = [(x, y) for part in of_map for x, y in part[0]]
    x0, y0, x1, y1 = bounds(outlines)
    middle = (x0 + x1) / 2, (y0 + y1) / 2
    around = [(x - middle[0], y - middle[1]) for x, y in outlines]  # digits of a map are many
    ground = [(a * x + b * y, c * x + d * y) for x, y in around]
    square = 0.0
    for part in of_map:
        shifted = [[(x - middle[0], y - middle[1]) for x, y in ring] for ring in part]
        square += abs(signed_area(shifted[0])) - sum(abs(signed_area(hole)) for hole in shifted[1:])
    _, direction, length, width = smallest_rectangle(ground)
    return square * abs(a * d - b * c), direction, length, width


def _triangle(first: Point, second: Point, third: Point) -> float:
    return abs(signed_area([first, second, third]))
