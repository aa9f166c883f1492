"""Masks for the boxes of a CVAT task: the SDK against a CVAT that keeps what it gets."""

import sys

import cv2
import numpy as np
import pytest

pytest.importorskip("cvat_sdk")
from cvat_sdk import masks as cvat_masks
from helpers.fake_cvat import TOKEN, FakeCVAT, disc, serving
from helpers.in_process import run_insight

import insight.annotation.cvat_task as cvat_task
from insight.annotation.cvat_shapes import read_box
from insight.annotation.cvat_task import annotate_task, open_task
from insight.errors import InputError, InsightError, MissingDependencyError
from insight.inference.sopseg_predictor import SOPSegPredictor

SIZE = (96, 128)


@pytest.fixture(scope="module")
def predictor():
    """The shipped model."""
    return SOPSegPredictor.from_pretrained(device="cpu")


@pytest.fixture
def fake():
    """Two pictures, the first with three boxes: one horizontal, one rotated by 30 degrees, one of a plane."""
    fake = FakeCVAT([disc(SIZE, (60, 40), 14), disc(SIZE, (30, 60), 9)], jobs=((0, 0), (1, 1)))
    fake.add([46, 26, 74, 54])
    fake.add([48, 30, 72, 50], rotation=30, attributes=[{"spec_id": 5, "value": "moored"}], z_order=2)
    fake.add([20, 50, 40, 70], frame=1, job=2)
    return fake


def annotate(fake, predictor, **options):
    with serving(fake) as url, open_task(url, 7, token=TOKEN) as task:
        return annotate_task(task, predictor, **options)


def bitmap(shape, size=SIZE):
    return cvat_masks.decode_mask(shape["points"], image_height=size[0], image_width=size[1])


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_boxes_get_the_predictors_masks_in_their_group(fake, predictor):
    assert annotate(fake, predictor) == {"made": 3}
    horizontal, rotated = fake.of("mask")
    corners = cv2.boxPoints(((60.0, 40.0), (24.0, 20.0), 30.0))  # OpenCV turns clockwise on the screen, as CVAT
    expected = predictor.predict(image=fake.pictures[0], boxes=[[46, 26, 74, 54]], oriented_boxes=[corners])
    for shape, mask, score in zip((horizontal, rotated), np.asarray(expected.masks), expected.scores.tolist()):
        assert (bitmap(shape) == mask).all() and shape["score"] == pytest.approx(score)
    assert iou(bitmap(horizontal), fake.pictures[0][..., 0] > 100) > 0.9
    groups = {shape["group"] for shape in fake.of("rectangle") + fake.of("rectangle", 2)}
    assert groups == {1, 2, 3} == {shape["group"] for shape in fake.of("mask") + fake.of("mask", 2)}
    assert rotated["attributes"] == [{"spec_id": 5, "value": "moored"}] and rotated["z_order"] == 2
    assert {shape["source"] for shape in fake.of("mask")} == {"semi-auto"}
    assert [shape["rotation"] for shape in fake.of("rectangle")] == [0, 30]  # boxes stay as they are


def test_a_second_run_changes_nothing_and_a_third_does_what_is_new(fake, predictor):
    annotate(fake, predictor)
    made, changes = [dict(shape) for shape in fake.shapes[1]], len(fake.changes)
    assert annotate(fake, predictor) == {"done": 3}
    assert fake.shapes[1] == made and len(fake.changes) == changes
    fake.add([50, 30, 70, 50])
    fake.shapes[2] = fake.of("rectangle", 2)  # someone removes a mask
    assert annotate(fake, predictor) == {"made": 2, "done": 2}
    assert len(fake.of("mask")) == 3 and len(fake.of("mask", 2)) == 1


@pytest.mark.parametrize("dies_after", [1, 2, 3])
def test_a_run_that_was_killed_makes_each_mask_once(fake, predictor, dies_after, monkeypatch):
    monkeypatch.setattr(cvat_task, "BLOCK", 1)
    fake.dies_after = dies_after
    with pytest.raises(InsightError, match="answered 500"):
        annotate(fake, predictor)
    fake.dies_after = None
    annotate(fake, predictor)
    assert (len(fake.of("mask")), len(fake.of("mask", 2))) == (2, 1)
    assert annotate(fake, predictor) == {"done": 3}


def test_boxes_that_a_person_grouped_get_a_mask_each(predictor):
    fake = FakeCVAT([np.maximum(disc(SIZE, (30, 40), 9), disc(SIZE, (80, 40), 9))])
    fake.add([21, 31, 39, 49], group=4)
    fake.add([71, 31, 89, 49], group=4)
    fake.add([90, 80, 100, 90], kind="rectangle", label=2, group=9)
    assert annotate(fake, predictor, classes=["ship"]) == {"made": 2}
    assert {shape["group"] for shape in fake.of("mask")} == {4}
    fake.shapes[1].remove(fake.of("mask")[0])
    assert annotate(fake, predictor, classes=["ship"]) == {"made": 1, "done": 1}


def test_polygons_are_outlines_of_the_masks(fake, predictor):
    fake.add([46, 26, 74, 54], label=3)
    with pytest.raises(InputError, match="'berth' takes shapes of type polygon alone"):
        annotate(fake, predictor)
    annotate(fake, predictor, shape="polygon")
    expected = np.asarray(predictor.predict(image=fake.pictures[0], boxes=[[46, 26, 74, 54]]).masks)[0]
    polygon = next(shape for shape in fake.of("polygon") if shape["label_id"] == 3)
    corners = np.array(polygon["points"]).reshape(-1, 2)
    drawn = cv2.fillPoly(np.zeros(SIZE, np.uint8), [np.round(corners * 16 - 8).astype(np.int32)], 1, shift=4) > 0
    assert iou(drawn, expected) > 0.85 and len(corners) < 40
    assert annotate(fake, predictor, shape="polygon") == {"done": 4}


def test_what_cannot_be_asked_is_counted_and_left(predictor):
    fake = FakeCVAT([disc(SIZE, (60, 40), 14), disc(SIZE, (30, 60), 9)], jobs=((0, 1),))
    fake.add([200, 10, 220, 30])
    fake.add([10, 10, 10, 30])
    fake.add([20, 50, 40, 70], frame=1)
    fake.deleted_frames = [1]
    shape = {"type": "rectangle", "frame": 0, "points": [1.0, 1, 9, 9], "outside": False, "attributes": []}
    fake.tracks = [{"id": 1, "label_id": 1, "frame": 0, "group": 3, "source": "manual", "shapes": [shape]}]
    assert annotate(fake, predictor) == {"outside": 1, "no_area": 1, "track": 1}
    assert fake.changes == []


def test_a_box_that_is_moved_meanwhile_is_left_as_the_person_made_it(fake, predictor, monkeypatch):
    original = cvat_task._segment

    def moved(*args):
        answers = original(*args)
        fake.shapes[1][0]["points"] = [40.0, 26, 74, 54]
        return answers

    monkeypatch.setattr(cvat_task, "_segment", moved)
    assert annotate(fake, predictor) == {"made": 2, "changed": 1}
    assert fake.of("rectangle")[0]["points"] == [40.0, 26, 74, 54] and len(fake.of("mask")) == 1


def test_a_picture_of_another_size_is_refused(fake, predictor):
    fake.size_of = lambda picture: picture.shape[1::-1]
    with pytest.raises(InputError, match="frame 0: is 128 x 96 pixels, CVAT says 96 x 128"):
        annotate(fake, predictor)


def test_corners_run_clockwise_as_opencvs(fake):
    class Shape:
        points, rotation = [10.0, 20, 50, 30], 40.0

    expected = cv2.boxPoints(((30.0, 25.0), (40.0, 10.0), 40.0))
    found = read_box(Shape).corners
    assert min(np.abs(np.roll(expected, k, 0) - found).max() for k in range(4)) < 1e-4


def test_the_command_and_its_errors(fake, monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    with serving(fake) as url:
        done = run_insight("cvat --task 7 --device cpu --url", url)
        assert (done.code, done.err) == (0, "")
        assert done.out == "task 7: made masks of 3 boxes, 0 had them before\n"
        missing = run_insight("cvat --task 8 --device cpu --url", url)
        unknown = run_insight("cvat --task 7 --device cpu --classes boat --url", url)
        monkeypatch.setattr("getpass.getpass", lambda _: "guessed")
        guessed = run_insight("cvat --task 7 --device cpu --user anna --url", url)
        monkeypatch.setenv("CVAT_ACCESS_TOKEN", "wrong")
        refused = run_insight("cvat --task 7 --device cpu --url", url)
    gone = run_insight("cvat --task 7 --device cpu --url", url)
    monkeypatch.delenv("CVAT_ACCESS_TOKEN")
    nobody = run_insight("cvat --task 7 --device cpu --url", url)
    assert missing.errors == [f"error: --task: {url} has no task 8 that this user sees"]
    assert unknown.errors == ["error: --classes: the task has no label 'boat'; it has ship, plane, berth"]
    assert guessed.errors == [f"error: --user: {url} does not accept this name and password"]
    assert refused.errors == [f"error: --url: {url} does not accept the token"]
    assert gone.errors == [f"error: --url: {url} does not answer; is CVAT running there?"]
    assert nobody.errors == ["error: --user: expected the name of a user, or a token in CVAT_ACCESS_TOKEN, got neither"]
    assert {done.code for done in (missing, unknown, guessed, refused, gone, nobody)} == {2}


def test_the_extra_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvat_sdk.core.client", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'insight-seg\[cvat\]'"), open_task("http://a", 7):
        pass
