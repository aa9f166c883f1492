"""Drawn objects against shapely: convex parts, masks that are the union of the solid ones, sizes as in the field."""

import math
from functools import partial

import numpy as np
import pytest
import shapely

from insight.data.scenes import draw_scene, scene
from insight.data.scenes.aircraft import airplane, fighter, helicopter, propeller_airplane, stored_helicopter
from insight.data.scenes.bridges import bridge, roundabout_island
from insight.data.scenes.canvas import Canvas
from insight.data.scenes.fields import baseball_diamond, football_pitch, running_track
from insight.data.scenes.parts import Material, Part, rectangle
from insight.data.scenes.piers import berthing_pier, jetty
from insight.data.scenes.sports import court
from insight.data.scenes.textures import GRASS

FINGERS = [(float(x), side, 9.0) for x in range(6, 44, 8) for side in (-1, 1)]
OBJECTS = {
    "airplane": partial(airplane, length=34.0),
    "fighter": partial(fighter, length=16.0),
    "propeller airplane": partial(propeller_airplane, length=12.0),
    "helicopter": partial(helicopter, length=14.0),
    "stored helicopter": partial(stored_helicopter, length=14.0),
    "berthing pier": partial(berthing_pier, length=50.0, width=2.5, fingers=FINGERS),
    "jetty": partial(jetty, length=40.0, width=3.0),
    "bridge": partial(bridge, span=60.0, width=12.0, height=5.0, road=None),
    "roundabout": partial(roundabout_island, radius=14.0),
    "running track": partial(running_track, length=170.0, width=90.0),
    "football pitch": partial(football_pitch, length=100.0, width=64.0),
    "baseball diamond": partial(baseball_diamond, radius=30.0),
    "court": court,
}


def footprint(parts):
    """The solid parts seen from above, in metres."""
    return shapely.union_all([shapely.Polygon(part.outline) for part in parts if part.solid])


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("seed", range(6))
def test_parts_are_convex(name, seed):
    for part in OBJECTS[name](np.random.default_rng(seed)):
        polygon = shapely.Polygon(part.outline)
        assert polygon.is_valid
        assert polygon.area == pytest.approx(polygon.convex_hull.area, rel=1e-6)
        assert part.base <= part.height or part.height == 0


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("seed", range(2))
def test_the_mask_is_the_union_of_the_solid_parts(name, seed):
    parts = OBJECTS[name](np.random.default_rng(seed))
    outline = footprint(parts)
    extent = max(outline.bounds[2] - outline.bounds[0], outline.bounds[3] - outline.bounds[1])
    canvas = Canvas(np.random.default_rng(seed), (420, 420), "optical", gsd=extent / 260)
    canvas.lay([(None, GRASS[0])])
    middle, heading = np.array(outline.centroid.coords[0]), 0.7
    c, s = math.cos(heading), math.sin(heading)
    turn = np.array([[c, s], [-s, c]])
    shift = -middle @ turn
    canvas.place(parts, shift[0], shift[1], heading, "pier")
    canvas.flush()
    (instance,) = scene._instances(canvas)
    image = shapely.transform(outline, lambda points: canvas.to_image(points @ turn + shift))
    ys, xs = np.mgrid[:420, :420] + 0.5
    expected = shapely.contains_xy(image, xs, ys)
    mask = instance.full_mask((420, 420))
    # Half a pixel along the outline is a matter of rounding.
    assert (mask ^ expected).sum() < 0.75 * image.length
    unclear = shapely.contains_xy(image.boundary.buffer(1.0), xs, ys)
    assert not (mask ^ expected)[~unclear].any()
    # The oriented box holds the whole outline along the object's own axes.
    along = shapely.transform(outline, lambda points: points / canvas.gsd).bounds
    sides = (along[2] - along[0], along[3] - along[1])
    np.testing.assert_allclose(instance.oriented_box[2:4], sides, atol=2.5)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("running track", 0.99 * (80 * 90 + math.pi * 45**2), 80 * 90 + math.pi * 45**2),
        ("football pitch", 6399, 6401),
        ("bridge", 719, 721),
        ("roundabout", 0.98 * math.pi * 14**2, math.pi * 14**2),
        ("baseball diamond", 0.6 * 30**2, 1.0 * 30**2),
        ("berthing pier", 50 * 2.5 + 8 * 9 * 0.7, 50 * 2.5 + 10 * 9 * 1.2 + 2.5 * 20),
        ("jetty", 100, 300),
        ("helicopter", 0.03 * 14**2, 0.2 * 14**2),
        ("stored helicopter", 0.03 * 14**2, 0.2 * 14**2),
        ("fighter", 0.08 * 16**2, 0.4 * 16**2),
        ("airplane", 0.08 * 34**2, 0.35 * 34**2),
    ],
)
def test_areas(name, low, high):
    for seed in range(25):
        area = footprint(OBJECTS[name](np.random.default_rng(seed))).area
        assert low <= area <= high, (seed, area)


def test_a_stored_helicopter_spreads_no_blades():
    """They are off, or folded over its boom: it is slender, one in use is not."""
    width = {True: [], False: []}
    for seed in range(40):
        for stored, maker in ((True, stored_helicopter), (False, helicopter)):
            bounds = footprint(maker(np.random.default_rng(seed), 14.0)).bounds
            width[stored].append(bounds[3] - bounds[1])
    assert max(width[True]) < 0.45 * 14
    assert np.mean(np.array(width[False]) > 0.55 * 14) > 0.8, "but for two blades along the fuselage"


@pytest.mark.parametrize(
    ("kind", "categories"),
    [
        ("harbour", {"pier", "ship"}),
        ("crossing", {"bridge", "roundabout", "vehicle"}),
        ("sports_park", {"sports_field", "court", "vehicle"}),
        ("boneyard", {"helicopter", "airplane"}),
    ],
)
def test_layouts_hold_their_objects(kind, categories):
    found = {i.category for seed in range(12) for i in draw_scene(seed, (256, 256), kind).instances}
    assert categories <= found


@pytest.mark.parametrize("seed", range(4))
def test_what_lies_on_a_deck_leans_as_the_deck_does(seed):
    """A deck without walls is drawn where `lean_per_metre` says that things on it appear."""
    canvas = Canvas(np.random.default_rng(seed), (200, 200), "optical", 0.5, off_nadir=30)
    canvas.lay([(None, GRASS[0])])
    deck = Part(rectangle(0, 0, 20, 12), Material((120, 120, 120), -12.0), height=9.0, base=9.0)
    canvas.place([deck], 3.0, -4.0, 0.0, "bridge")
    canvas.flush()
    (instance,) = scene._instances(canvas)
    centre = np.argwhere(instance.full_mask((200, 200))).mean(axis=0)[::-1] + 0.5
    lift = canvas.lean_per_metre() * 9.0
    assert np.linalg.norm(lift) == pytest.approx(9.0 * math.tan(math.radians(30)))
    np.testing.assert_allclose(centre, canvas.to_image(np.array([3.0, -4.0]) + lift), atol=0.3)
