"""The models that ship with the package: whole, small, described, and better than a shape that ignores the image."""

import re

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from insight import SOPSegPredictor
from insight.data.scenes import draw_scene
from insight.evaluation.prompt_baselines import best_exponent, superellipse_masks
from insight.hub import DEFAULT_DETECTOR, DEFAULT_SOPSEG, read_model
from insight.hub.finding import SHIPPED
from insight.hub.model_folder import CARD
from insight.structures.oriented_boxes import box_corners, jitter_oriented_boxes, oriented_corners
from insight.structures.rle import masks_to_rle

SIZE = (384, 384)
SCENES = (("harbour", 2_000_009), ("apron", 2_000_016))  # no split has these seeds


def shipped(name):
    if not (SHIPPED / name / "config.json").is_file():
        pytest.skip(f"{name} is not shipped with this checkout yet")
    return read_model(SHIPPED / name)


@pytest.mark.parametrize(("name", "kind"), [(DEFAULT_SOPSEG, "sopseg"), (DEFAULT_DETECTOR, "detector")])
def test_a_shipped_model_is_whole_small_and_described(name, kind):
    model = shipped(name)
    assert (model.name, model.kind, model.license) == (name, kind, "apache-2.0")
    assert model.weights.stat().st_size <= 25e6  # its digest is checked here
    assert {"data", "start", "steps", "seed", "commit", "command"} <= model.training.keys()
    assert model.metrics and model.gsd
    card = (model.path / CARD).read_text()
    for part in ("## Intended use", "## Training", "## Metrics", "license: apache-2.0", model.sha256):
        assert part in card
    assert not re.search(r"""(^|[\s"'`(=])/\w+/""", card, re.MULTILINE)  # no path of the machine that trained it


def mean_iou(masks, truth):
    return np.mean([coco_mask.iou([one], [other], [0])[0, 0] for one, other in zip(masks, truth, strict=True)])


@pytest.mark.parametrize(("kind", "seed"), SCENES)
def test_masks_of_exact_and_loose_boxes_beat_a_shape_that_ignores_the_image(kind, seed):
    predictor = SOPSegPredictor.from_pretrained(shipped(DEFAULT_SOPSEG), "cpu")
    scene = draw_scene(seed, SIZE, kind, "optical")
    objects = scene.instances[:: len(scene.instances) // 20]
    truth = masks_to_rle(np.stack([one.full_mask(SIZE) for one in objects]))
    boxes = torch.tensor([one.box for one in objects], dtype=torch.float32)
    boxes[:, 2:] += boxes[:, :2]
    exact = oriented_corners([one.oriented_box for one in objects])
    loose = jitter_oriented_boxes(exact, 0.2, torch.Generator().manual_seed(seed))
    for corners, prompts in ((box_corners(boxes), {"boxes": boxes}), (loose, {"oriented_boxes": loose})):
        answer = masks_to_rle(predictor.predict(image=scene.image, **prompts).masks)
        image_free = superellipse_masks(corners, best_exponent(corners, truth), SIZE)
        assert mean_iou(answer, truth) > mean_iou(image_free, truth) + 0.02


def test_the_detector_finds_most_of_a_drawn_marina():
    pytest.importorskip("detectron2")
    from insight import PromptPredictor
    from insight.engine.demonstration import _right

    model = shipped(DEFAULT_DETECTOR)
    predictor = PromptPredictor.from_pretrained(model, "cpu")
    scene = draw_scene(SCENES[0][1], SIZE, "harbour", "optical")
    predictor.set_image(scene.image)
    found = predictor.detect()
    assert found.scores.min() >= model.score_threshold
    truth = masks_to_rle(np.stack([one.full_mask(SIZE) for one in scene.instances]))
    assert _right(found, truth, [one.category for one in scene.instances]) >= 0.4 * len(truth)
