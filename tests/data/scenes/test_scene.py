"""The synthetic scenes: reproducible, exact, and as varied as they claim."""

import hashlib
import os
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from insight.data.scenes import CATEGORIES, KINDS, LOOKS, draw_scene


def digest(scene) -> str:
    state = hashlib.sha256(scene.image.tobytes())
    for instance in scene.instances:
        state.update(repr((instance.category, instance.box, instance.oriented_box)).encode())
        state.update(np.packbits(instance.mask).tobytes())
    return state.hexdigest()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("look", LOOKS)
def test_form_of_a_scene(kind, look):
    scene = draw_scene(3, (200, 260), kind, look)
    assert scene.image.shape == (200, 260, 3) and scene.image.dtype == np.uint8
    assert (scene.kind, scene.look) == (kind, look)
    assert scene.instances
    assert scene.image.std() > 5
    if look == "sar":
        assert np.array_equal(scene.image[..., 0], scene.image[..., 1])
        assert np.array_equal(scene.image[..., 0], scene.image[..., 2])
    covered = np.zeros((200, 260), int)
    for instance in scene.instances:
        x, y, w, h = instance.box
        assert instance.category in CATEGORIES
        assert instance.mask.shape == (h, w) and instance.mask.dtype == bool
        assert x >= 0 and y >= 0 and x + w <= 260 and y + h <= 200
        assert instance.mask.any(axis=0)[[0, -1]].all() and instance.mask.any(axis=1)[[0, -1]].all()
        covered += instance.full_mask((200, 260))
    assert covered.max() == 1, "a pixel belongs to one instance at most"


def test_another_process_with_other_threads_draws_the_same():
    scenes = [(seed, kind, look) for seed, kind in enumerate(KINDS) for look in LOOKS]
    program = (
        "import sys, cv2; sys.path.insert(0, sys.argv[1]); cv2.setNumThreads(4)\n"
        "from test_scene import digest, draw_scene\n"
        f"for seed, kind, look in {scenes!r}: print(digest(draw_scene(seed, (150, 180), kind, look)))"
    )
    other = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, os.path.dirname(__file__)],
        env={**os.environ, "PYTHONHASHSEED": "12", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        here = [digest(draw_scene(seed, (150, 180), kind, look)) for seed, kind, look in scenes]
    finally:
        cv2.setNumThreads(threads)
    assert other.communicate(timeout=300)[0].split() == here


def test_seeds_give_different_scenes_of_every_kind_look_and_category():
    scenes = [draw_scene(seed, (160, 160)) for seed in range(90)]
    assert len({digest(s) for s in scenes}) == len(scenes)
    assert {s.kind for s in scenes} == set(KINDS)
    assert {s.look for s in scenes} == set(LOOKS)
    assert {i.category for s in scenes for i in s.instances} == set(CATEGORIES)
    assert max(len(s.instances) for s in scenes) > 40, "some are dense"
    lengths = [max(i.box[2:]) for s in scenes for i in s.instances]
    assert np.percentile(lengths, 5) < 12 and np.percentile(lengths, 99) > 60, "small and large objects"
    cut = [i for s in scenes for i in s.instances if i.box[0] == 0 or i.box[0] + i.box[2] == 160]
    assert len(cut) > 20, "some objects leave the image"


@pytest.mark.parametrize("kind", KINDS)
def test_oriented_boxes_hold_the_mask_tightly(kind):
    """Against OpenCV's polygons and its own smallest rectangle."""
    for instance in draw_scene(11, (300, 300), kind).instances:
        cx, cy, w, h, angle = instance.oriented_box
        assert -90 <= angle < 90
        corners = cv2.boxPoints(((cx, cy), (w, h), -angle))  # Detectron2 counts the other way round
        rows, columns = np.nonzero(instance.full_mask((300, 300)))
        pixels = np.stack([columns, rows], axis=1) + 0.5
        inside = [cv2.pointPolygonTest(corners.astype(np.float32), tuple(map(float, p)), True) for p in pixels]
        assert min(inside) > 0.3
        hull = np.concatenate([pixels + (dx, dy) for dx in (-0.5, 0.5) for dy in (-0.5, 0.5)]).astype(np.float32)
        smallest = np.prod(cv2.minAreaRect(hull)[1])
        assert w * h >= 0.99 * smallest
        # No side has room: turning the pixels into the frame of the box, they touch all four sides.
        turn = np.deg2rad(-angle)
        frame = (hull - (cx, cy)) @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        np.testing.assert_allclose(np.abs(frame).max(axis=0) * 2, (w, h), atol=0.02)


def test_oriented_width_is_the_length_of_the_object():
    whole = [
        i
        for seed in range(6)
        for i in draw_scene(seed, (300, 300), "car_park", "optical").instances
        if i.category == "vehicle"
        and min(i.box[:2]) > 0
        and max(i.box[0] + i.box[2], i.box[1] + i.box[3]) < 300
        and i.mask.sum() > 0.8 * i.oriented_box[2] * i.oriented_box[3]
    ]
    assert len(whole) > 50
    assert np.mean([i.oriented_box[2] > i.oriented_box[3] for i in whole]) > 0.95


@pytest.mark.parametrize("kind", ["boneyard", "harbour", "car_park"])
def test_wear_changes_the_paint_of_objects_and_nothing_else(kind):
    new, worn = (draw_scene(7, (300, 300), kind, "optical", worn=worn) for worn in (False, True))
    assert [i.oriented_box for i in new.instances] == [i.oriented_box for i in worn.instances]
    objects = sum(i.full_mask((300, 300)) for i in new.instances) > 0
    changed = (new.image != worn.image).any(2)
    around = cv2.dilate(objects.astype(np.uint8), np.ones((47, 47))) > 0  # as far as JPEG blocks and blur reach
    assert changed[objects].mean() > 0.3 and not changed[~around].any()
    radar = [draw_scene(6, (300, 300), kind, "sar", worn=worn).image for worn in (False, True)]
    assert np.array_equal(*radar)


def test_zoom_makes_objects_larger():
    plain, zoomed = (draw_scene(5, (300, 300), "car_park", "optical", zoom=zoom) for zoom in (1.0, 2.0))
    assert zoomed.gsd == plain.gsd / 2
    lengths = [np.median([i.oriented_box[2] for i in scene.instances]) for scene in (plain, zoomed)]
    assert lengths[1] / lengths[0] == pytest.approx(2, rel=0.15)


def test_masks_lie_on_what_is_drawn():
    """A wrong offset of half a pixel would show: along the borders of bright tanks the picture changes most."""
    scene = draw_scene(5, (400, 400), "tank_farm", "optical", off_nadir=0)
    grey = cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))

    def contrast(dx, dy):
        total = []
        for instance in scene.instances:
            if instance.category == "storage_tank":
                mask = np.roll(instance.full_mask((400, 400)), (dy, dx), (0, 1)).astype(np.uint8)
                total.append(gradient[cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((2, 2))) > 0].mean())
        return np.mean(total)

    best = max(((dx, dy) for dx in (-2, -1, 0, 1, 2) for dy in (-2, -1, 0, 1, 2)), key=lambda d: contrast(*d))
    assert best in ((0, 0), (0, 1), (1, 0), (1, 1)), best  # a 2 x 2 kernel looks left and up


def test_a_shadow_is_no_part_of_the_mask():
    """A tank's mask is as round as the tank: its shadow would make it longer in one direction."""
    round_ones = []
    for seed in range(4):
        for i in draw_scene(seed, (400, 400), "tank_farm", "optical", off_nadir=0).instances:
            x, y, w, h = i.box
            inside = x > 0 and y > 0 and x + w < 400 and y + h < 400
            if i.category == "storage_tank" and inside and min(w, h) > 12:
                round_ones.append(abs(w - h) <= 2 and i.mask.sum() == pytest.approx(np.pi / 4 * w * h, rel=0.06))
    assert len(round_ones) > 40
    assert np.mean(round_ones) > 0.9, "but for those that a tree hides in part"


def test_an_oblique_view_shows_walls():
    """Upright tanks are round from above; from the side their masks take in a wall and are longer than wide."""

    def elongation(off_nadir):
        scene = draw_scene(8, (400, 400), "tank_farm", "optical", off_nadir=off_nadir)
        assert scene.off_nadir == off_nadir
        ratios = []
        for instance in scene.instances:
            x, y, w, h = instance.box
            if instance.category == "storage_tank" and min(x, y, 400 - x - w, 400 - y - h) > 0 and w * h > 200:
                code = instance.mask.astype(np.uint8)
                contour = np.concatenate(cv2.findContours(code, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0])
                sides = np.array(cv2.minAreaRect(contour)[1]) + 1
                ratios.append(sides.max() / sides.min())
        assert len(ratios) > 5
        return np.median(ratios)

    assert elongation(0) < 1.1 < 1.2 < elongation(30)


@pytest.mark.parametrize("size", [(32, 32), (33, 700), (640, 48)])
@pytest.mark.parametrize("kind", KINDS)
def test_any_size(size, kind):
    for seed in range(8):
        assert draw_scene(seed, size, kind).image.shape == (*size, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
        ({"seed": 0, "size": (16, 64)}, r"at least 32 pixels, got \(16, 64\)"),
        (
            {"seed": 0, "kind": "moon"},
            "kind: expected one of harbour, apron, car_park, tank_farm, residential, crossing, sports_park, "
            "boneyard, got 'moon'",
        ),
        ({"seed": 0, "look": "lidar"}, "look: expected one of optical, sar, got 'lidar'"),
        ({"seed": 0, "off_nadir": 60}, "off_nadir: expected 0 to 45 degrees, got 60"),
        ({"seed": 0, "zoom": 0}, "zoom: expected a number above 0, got 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_scene(**arguments)


def test_speed():
    """Well under 0.1 s each on an idle core; the bound leaves room for a busy one."""
    draw_scene(0)
    start = time.process_time()
    for seed in range(8):
        draw_scene(seed, (512, 512))
    assert (time.process_time() - start) / 8 < 0.4
