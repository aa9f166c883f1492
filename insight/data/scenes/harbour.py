"""Harbours: marinas with dense rows of boats, and quays with cargo ships."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .parts import Material, Part, chamfered, rectangle
from .piers import berthing_pier, jetty
from .ships import boat, ship, wake
from .surroundings import building, rock, tree
from .textures import ASPHALT, CONCRETE, GRASS, WATER
from .vehicles import car, container, truck

GSD = (0.15, 1.30)  # metres a pixel

_FOAM = Material((214, 222, 222), -12.0)


def draw(canvas: Canvas) -> None:
    """Draw a harbour; the quay runs along x, land lies at positive y."""
    rng, reach = canvas.rng, canvas.reach
    quay = rng.uniform(0.15, 0.65) * reach
    land = (CONCRETE + ASPHALT)[rng.integers(6)]
    layers = [
        (None, WATER[rng.integers(len(WATER))]),
        ([rectangle(0, quay + reach, 2.4 * reach, 2 * reach)], land),
    ]
    if rng.random() < 0.6:
        edge = quay + rng.uniform(14, 30)
        layers.append(([rectangle(0, edge + reach, 2.4 * reach, 2 * reach)], GRASS[rng.integers(3)]))
    canvas.lay(layers)
    canvas.paint([rectangle(0, quay + 0.4, 2.4 * reach, 0.9)], Material((198, 194, 184), -6.0))
    if canvas.gsd > 0.38 and rng.random() < 0.45:
        _cargo_quay(canvas, quay)
    elif rng.random() < 0.6:
        _marina(canvas, quay)
    else:
        _jetties(canvas, quay)
    _open_water(canvas, quay)
    _land(canvas, quay)


def _marina(canvas: Canvas, quay: float) -> None:
    """Piers at right angles to the quay, boats side by side on both sides of each."""
    rng, reach = canvas.rng, canvas.reach
    far = -reach * rng.uniform(0.2, 1.0)
    least = max(6.0, 16 * canvas.gsd)  # smaller boats would be mere dots
    length = rng.uniform(1.1, 1.6) * least
    alike = rng.integers(2**32)
    every = int(rng.choice((1, 2, 2, 3)))  # boats between two fingers
    x = -reach + rng.uniform(0, 10)
    boats: list[tuple[float, float, float, float]] = []
    while x < reach:
        length = float(np.clip(length * rng.uniform(0.75, 1.3), least, 3 * least))
        width = rng.uniform(1.4, 3.2)
        sides = (-1, 1) if rng.random() < 0.8 else (int(rng.choice((-1, 1))),)
        fingers = []
        for side in sides:
            fingers += _berths(canvas, (x, quay), side, width, length, quay - far, every, boats)
        deck = berthing_pier(np.random.default_rng(alike), quay - far, width, fingers)
        canvas.place(deck, x, quay, -np.pi / 2, "pier")
        x += len(sides) * length + width + rng.uniform(5, 12)
    canvas.flush()
    for x, y, heading, own in boats:
        canvas.place(boat(rng, own), x, y, heading, "ship")
    canvas.flush()


def _berths(
    canvas: Canvas,
    shore: tuple[float, float],
    side: int,
    width: float,
    length: float,
    extent: float,
    every: int,
    boats: list[tuple[float, float, float, float]],
) -> list[tuple[float, int, float]]:
    """Boats on one side of a pier (x, y, heading, length), and the fingers between them as berthing_pier takes them."""
    rng = canvas.rng
    beam = 0.34 * length + rng.uniform(0.35, 0.9)
    occupancy, share = rng.uniform(0.1, 0.97), rng.uniform(0.5, 1.0)
    fingers = []
    for i, along in enumerate(np.arange(4 + beam / 2, extent, beam + 0.8 / every)):
        if i % every == 0:
            fingers.append((float(along - beam / 2 - 0.4), side, share * length))
        y = shore[1] - along
        if rng.random() > occupancy or not canvas.in_view(shore[0], y, 3 * length):
            continue
        own = length * rng.uniform(0.72, 1.0)
        heading = (0.0 if rng.random() < 0.3 else np.pi) + (0.0 if side > 0 else np.pi) + rng.normal(0, 0.02)
        boats.append((shore[0] + side * (width / 2 + own / 2 + rng.uniform(0.3, 0.9)), y, heading, own))
    return fingers


def _jetties(canvas: Canvas, quay: float) -> None:
    """Jetties of all lengths along a shore, with a few boats beside them."""
    rng, reach = canvas.rng, canvas.reach
    x = -reach + rng.uniform(0, 20)
    boats = []
    while x < reach:
        width = rng.uniform(1.5, 3.5) if rng.random() < 0.75 else rng.uniform(4, 12)
        length = width * rng.uniform(5, 22)
        heading = -np.pi / 2 + rng.normal(0, 0.12)
        canvas.place(jetty(rng, length, width), x, quay + 1.0, heading, "pier")
        if rng.random() < 0.5:
            own = max(5.0, min(rng.uniform(5, 14), 0.8 * length))
            side = rng.choice((-1, 1)) * (width / 2 + 0.2 * own + 0.4)
            boats.append((x + side, quay - rng.uniform(0.3, 0.8) * length, heading + np.pi * rng.integers(2), own))
        x += rng.uniform(0.6, 1.6) * length + rng.uniform(6, 30)
    canvas.flush()
    for x, y, heading, own in boats:
        canvas.place(boat(rng, own), x, y, heading, "ship")
    canvas.flush()


def _cargo_quay(canvas: Canvas, quay: float) -> None:
    """Ships moored along the quay, some two abreast, and cranes over them."""
    rng, reach = canvas.rng, canvas.reach
    x = -reach + rng.uniform(0, 20)
    cranes = []
    while x < reach:
        length = rng.uniform(45, 125)
        if rng.random() < 0.8:
            offset = quay - 0.5
            for _ in range(1 + (rng.random() < 0.3)):
                own = length * rng.uniform(0.85, 1.0)
                beam = 0.19 * own
                heading = np.pi * rng.integers(2) + rng.normal(0, 0.008)
                canvas.place(ship(rng, own), x + length / 2, offset - beam / 2 - 0.8, heading, "ship")
                offset -= beam + 1.5
            if rng.random() < 0.4:
                cranes.append(x + length * rng.uniform(0.3, 0.7))
        elif rng.random() < 0.6:  # tugs and small craft in a row
            for step in range(rng.integers(2, 6)):
                canvas.place(boat(rng, rng.uniform(11, 20)), x + 8 + 9 * step, quay - 12, np.pi / 2, "ship")
        x += length + rng.uniform(4, 22)
    canvas.flush()
    for x in cranes:
        canvas.place(_crane(rng), x, quay + 5, -np.pi / 2)
    canvas.flush()


def _open_water(canvas: Canvas, quay: float) -> None:
    """Boats under way with wakes, anchored ones, buoys and rocks, beyond the berths."""
    rng, reach = canvas.rng, canvas.reach
    for _ in range(rng.integers(0, 5)):
        x, y = rng.uniform(-1, 1) * reach, rng.uniform(-1.0, -0.55) * reach
        if canvas.covered(x, y, 14):
            continue
        length, heading = rng.uniform(6, 16), rng.uniform(0, 2 * np.pi)
        if rng.random() < 0.7:
            c, s = np.cos(heading), np.sin(heading)
            foam = [shape @ np.array([[c, s], [-s, c]]) + (x, y) for shape in wake(length, 0.3 * length)]
            foam = [shape for shape in foam if shape[:, 1].max() < quay]
            canvas.stain(foam, _FOAM, rng.uniform(0.35, 0.75), 0.12 * length)
        canvas.place(boat(rng, length), x, y, heading, "ship")
    for _ in range(rng.integers(0, 9)):
        x, y = rng.uniform(-1, 1) * reach, -reach + rng.uniform() * max(0.0, quay - 20 + reach)
        if canvas.covered(x, y, 8):
            continue
        if rng.random() < 0.5:
            buoy = Material(((190, 60, 44), (210, 180, 60), (226, 226, 222))[rng.integers(3)], 2.0)
            canvas.place([Part(chamfered(0, 0, 1.6, 1.6, 0.5), buoy, 1.5)], x, y, 0.0)
        else:
            canvas.place(rock(rng, rng.uniform(1.5, 7)), x, y, rng.uniform(0, np.pi))
    canvas.flush()


def _land(canvas: Canvas, quay: float) -> None:
    """Sheds, container stacks, vehicles and trees behind the quay."""
    rng, reach = canvas.rng, canvas.reach
    for x in np.arange(-reach, reach, 7.0):
        draw = rng.random()
        if draw < 0.28:
            canvas.place(car(rng), x + rng.uniform(0, 2), quay + rng.uniform(3.5, 5), rng.normal(0, 0.05), "vehicle")
        elif draw < 0.42:
            canvas.place(truck(rng), x + 3, quay + rng.uniform(7.0, 8.0), rng.choice((0, np.pi)), "vehicle")
    canvas.flush()
    y = quay + rng.uniform(12, 18)
    while y < reach:
        x = -reach
        while x < reach:
            length = rng.uniform(14, 45)
            draw = rng.random()
            if draw < 0.4:
                canvas.place(building(rng, length, rng.uniform(10, 16)), x + length / 2, y + 6, 0.0)
            elif draw < 0.75:
                for row in range(rng.integers(1, 4)):
                    for cell in np.arange(7, length - 6, 12.9):
                        canvas.place(container(rng), x + cell, y + 2.9 * row, rng.normal(0, 0.01))
            else:
                for _ in range(rng.integers(1, 6)):
                    canvas.place(tree(rng, rng.uniform(1.2, 3.6)), x + rng.uniform(0, length), y + rng.uniform(0, 9), 0)
            x += length + rng.uniform(4, 14)
        y += rng.uniform(20, 28)
    canvas.flush()


def _crane(rng: np.random.Generator) -> list[Part]:
    """A gantry crane whose boom reaches over the ship; x points over the water."""
    paint = Material(((60, 96, 160), (196, 120, 40), (170, 46, 40))[rng.integers(3)], 6.0)
    beams = [rectangle(8, side, 34, 0.9) for side in (-2.2, 2.2)]
    legs = [rectangle(x, 0, 1.2, 9) for x in (-3, 5)]
    return [*(Part(leg, paint.shaded(0.8), 12.0) for leg in legs), *(Part(beam, paint, 16.0) for beam in beams),
            Part(rectangle(3, 0, 3.5, 4), paint.shaded(1.1), 17.0)]  # fmt: skip
