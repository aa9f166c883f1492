"""SOPSeg as the mask branch of detectors: whose masks they are, in which frame, and that training does not see it."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from helpers.tiny_prompt_rcnn import build, losses_of, make_inputs, make_tiny_config
from helpers.tiny_sopseg import save_tiny_checkpoint

from insight import PromptPredictor, SOPSegPredictor
from insight.checkpoint import CheckpointError
from insight.errors import InputError
from insight.modeling.meta_arch.prompt_rcnn import SOPSegBranch
from insight.modeling.sopseg import SOPSeg
from insight.structures.prompts import Prompts
from insight.structures.rle import RLEMasks

SIZE = 64  # of the crops
EVERY_CLASS = {"MODEL__RPN__POST_NMS_TOPK_TEST": 3, "TEST__DETECTIONS_PER_IMAGE": 9}  # of each proposal
DETECTORS = pytest.mark.parametrize(
    "files, options",
    [
        pytest.param((), {}, id="mask_rcnn"),
        pytest.param((), {"INPUT__FORMAT": "BGR"}, id="BGR"),
        pytest.param((), {"MODEL__MASK_ON": False}, id="faster_rcnn"),
        pytest.param(("base/cascade.yaml",), {}, id="cascade"),
        pytest.param(("base/scnet.yaml",), {}, id="scnet"),
        pytest.param(("base/insight.yaml",), {}, id="prompts"),
    ],
)


@pytest.fixture
def sopseg(tmp_path, monkeypatch):
    """A tiny SOPSeg, and the options that make it a detector's branch."""
    model = save_tiny_checkpoint(tmp_path / "sopseg.pth", monkeypatch)
    keys = {"ENABLED": True, "WEIGHTS": str(tmp_path / "sopseg.pth"), "INPUT_SIZE": SIZE}
    return SOPSegPredictor(model, input_size=SIZE), {f"MODEL__SOPSEG_BRANCH__{k}": v for k, v in keys.items()}


def rgb(image, order="RGB"):
    """What SOPSegPredictor takes, of what a detector takes."""
    return (image.flip(0) if order == "BGR" else image).permute(1, 2, 0).numpy()


@DETECTORS
def test_inference_gives_sopsegs_masks_of_the_detectors_boxes(sopseg, files, options):
    predictor, branch = sopseg
    inputs = make_inputs(prompt_scale=2)
    for entry in inputs:  # what is asked for is the image before the network's resize
        entry["height"], entry["width"] = entry["prompt_image"].shape[1:]
    plain = build(make_tiny_config(*files, **options)).eval()
    branched = build(make_tiny_config(*files, **options, **branch)).eval()
    assert list(plain.state_dict()) == list(branched.state_dict())
    with torch.no_grad():
        expected, found = plain(inputs), branched(inputs)
    for entry, theirs, ours in zip(inputs, expected, found):
        theirs, ours = theirs["instances"], ours["instances"]
        assert len(ours) == len(theirs) > 0 and ours.image_size == (192, 256)
        assert ours.pred_boxes.tensor.equal(theirs.pred_boxes.tensor) and ours.scores.equal(theirs.scores)
        assert isinstance(ours.pred_masks, RLEMasks)
        asked = predictor.predict(image=rgb(entry["prompt_image"], branched.input_format), boxes=ours.pred_boxes)
        assert ours.pred_masks.codes == asked.masks.codes and asked.masks.areas().sum() > 0


def test_without_the_sharp_image_the_resized_one_is_read_and_masks_are_in_the_outputs_frame(sopseg):
    predictor, branch = sopseg
    model = build(make_tiny_config(**branch)).eval()
    (entry,) = make_inputs(sizes=((96, 128),))
    entry["height"], entry["width"] = 288, 384
    with torch.no_grad():
        found = model([entry])[0]["instances"]
    assert found.image_size == found.pred_masks.image_size == (288, 384)
    asked = predictor.predict(image=rgb(entry["image"]), boxes=found.pred_boxes.tensor / 3)
    bitmaps = found.pred_masks.to_bitmaps()
    assert (bitmaps[:, 1::3, 1::3] != asked.masks.to_bitmaps()).float().mean() < 1e-3 and bitmaps.any()


def test_given_detections_are_completed(sopseg):
    predictor, branch = sopseg
    model = build(make_tiny_config(**branch)).eval()
    (entry,) = make_inputs(sizes=((96, 128),))
    boxes = torch.tensor([[10.0, 20, 40, 50], [60, 30, 90, 45]])
    given = Instances((96, 128), pred_boxes=Boxes(boxes), pred_classes=torch.tensor([0, 1]))
    given.scores = torch.tensor([0.9, 0.8])
    with torch.no_grad():
        found = model.inference([entry], [given])[0]["instances"]
        raw = model.inference([entry], do_postprocess=False)[0]
    assert found.pred_masks.codes == predictor.predict(image=rgb(entry["image"]), boxes=boxes).masks.codes
    assert not raw.has("pred_masks")


def test_no_detections(sopseg):
    _, branch = sopseg
    model = build(make_tiny_config(MODEL__ROI_HEADS__SCORE_THRESH_TEST=1.0, **branch)).eval()
    with torch.no_grad():
        found = model(make_inputs())[0]["instances"]
    assert len(found) == 0 and len(found.pred_masks) == 0


@pytest.mark.parametrize("files", [(), ("base/cascade.yaml",), ("base/scnet.yaml",)], ids=["rcnn", "cascade", "scnet"])
def test_classes_that_it_leaves_out_keep_the_detectors_masks(sopseg, files):
    _, branch = sopseg
    inputs = make_inputs(prompt_scale=2)
    for entry in inputs:
        entry["height"], entry["width"] = entry["prompt_image"].shape[1:]
    models = [
        build(make_tiny_config(*files, **EVERY_CLASS, **options)).eval()
        for options in ({}, branch, {"MODEL__SOPSEG_BRANCH__CLASSES": [0, 2], **branch})
    ]
    assert list(models[0].state_dict()) == list(models[2].state_dict())
    with torch.no_grad():
        answers = [[x["instances"] for x in model(inputs)] for model in models]
        raw = models[2].inference(inputs, do_postprocess=False)
    assert not any(x.has("pred_masks") for x in raw)
    seen = set()
    for own, all_classes, mixed in zip(*answers):
        assert mixed.pred_boxes.tensor.equal(own.pred_boxes.tensor) and mixed.pred_classes.equal(own.pred_classes)
        assert isinstance(mixed.pred_masks, RLEMasks) and mixed.pred_masks.image_size == mixed.image_size
        bitmaps = mixed.pred_masks.to_bitmaps()
        for i, one_class in enumerate(mixed.pred_classes.tolist()):
            theirs = all_classes.pred_masks.to_bitmaps() if one_class in (0, 2) else own.pred_masks
            assert bitmaps[i].equal(theirs[i])
            seen.add(one_class)
    assert seen == {0, 1, 2}


def test_the_predictor_asks_it_for_its_classes(sopseg):
    _, branch = sopseg
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    own, of_all, mixed = (
        PromptPredictor(build(make_tiny_config(**EVERY_CLASS, **options)), min_size=64, max_size=96)
        for options in ({}, branch, {"MODEL__SOPSEG_BRANCH__CLASSES": [1], **branch})
    )
    prompts = {
        "boxes": [[20.0, 10, 60, 50], [-8, 30, 24, 70], [90, 20, 120, 44]],
        "oriented_boxes": [[80.0, 60, 40, 10, 30], [40, 90, 30, 20, -45]],
        "classes": [1, 0, 1, 2, 1],
    }
    for predictor in (own, of_all, mixed):
        predictor.set_image(image)
    ours, theirs, found = (predictor.predict(**prompts).masks.codes for predictor in (own, of_all, mixed))
    assert found == [theirs[0], ours[1], theirs[2], ours[3], theirs[4]]
    assert all(a != b for a, b in zip(ours, theirs))
    assert len(mixed.predict(boxes=[]).masks) == 0

    ours, theirs, found = own.detect(), of_all.detect(), mixed.detect()
    of_it = found.class_ids == 1
    assert 0 < of_it.sum() < len(found) == len(ours)
    for i, here in enumerate(of_it.tolist()):
        assert found.masks[i] == (theirs if here else ours).masks[i]


def test_classes_that_cannot_be_are_told_when_the_model_is_built(sopseg):
    _, branch = sopseg
    for wrong in (3, -1, "ship"):
        with pytest.raises(ValueError, match=f"^MODEL.SOPSEG_BRANCH.CLASSES: .* 0 to 2, got {wrong!r}$"):
            build(make_tiny_config(MODEL__SOPSEG_BRANCH__CLASSES=[0, wrong], **branch))
    with pytest.raises(ValueError, match="^MODEL.SOPSEG_BRANCH.CLASSES: the other classes would have no masks"):
        build(make_tiny_config(MODEL__MASK_ON=False, MODEL__SOPSEG_BRANCH__CLASSES=[0], **branch))


def test_a_branch_of_some_classes_needs_the_detectors_masks(sopseg):
    _, options = sopseg
    branch = SOPSegBranch(options["MODEL__SOPSEG_BRANCH__WEIGHTS"], SIZE, classes=[0])
    image, prompts = torch.zeros(3, 64, 64, dtype=torch.uint8), Prompts(torch.tensor([[10.0, 10, 30, 30]]))
    with pytest.raises(InputError, match="own: expected the detector's masks, .* got None"):
        branch.masks(image, prompts, (64, 64), torch.tensor([1]))


def test_close_boxes_may_share_crops(sopseg, monkeypatch):
    predictor, branch = sopseg
    detector = PromptPredictor(build(make_tiny_config(MODEL__SOPSEG_BRANCH__SHARED_CROPS=0.8, **branch)), min_size=64)
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    close = [[20.0, 30, 36, 40], [24, 42, 40, 52], [70, 50, 80, 66]]
    encoded, encode = [], SOPSeg.encode
    monkeypatch.setattr(SOPSeg, "encode", lambda self, crops: encoded.append(len(crops)) or encode(self, crops))
    detector.set_image(image)
    found = detector.predict(boxes=close)
    assert encoded == [2]  # crops for three boxes
    sharing = SOPSegPredictor(predictor.model, input_size=SIZE, shared_crops=0.8)
    assert found.masks.codes == sharing.predict(image=image, boxes=close).masks.codes
    assert found.masks.codes != predictor.predict(image=image, boxes=close).masks.codes
    with pytest.raises(ValueError, match=r"\(SHARED_CROPS\): expected 0 or a fraction below 1, got 1.5"):
        build(make_tiny_config(MODEL__SOPSEG_BRANCH__SHARED_CROPS=1.5, **branch))


@pytest.mark.parametrize("masks", [True, False])
def test_the_predictor_asks_it_too(sopseg, masks):
    """Oriented boxes keep their orientation, which the detector cannot see."""
    predictor, branch = sopseg
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    detector = PromptPredictor(build(make_tiny_config(MODEL__MASK_ON=masks, **branch)), min_size=64, max_size=96)
    detector.set_image(image)
    boxes, oriented = [[20.0, 10, 60, 50], [-8, 30, 24, 70]], [[80.0, 60, 40, 10, 30]]
    found, asked = (one.predict(image=image, boxes=boxes, oriented_boxes=oriented) for one in (detector, predictor))
    assert found.masks.codes == asked.masks.codes
    assert found.boxes.equal(asked.boxes) and len(found.scores) == len(found.class_ids) == 3
    assert len(detector.predict(boxes=[]).masks) == 0
    corrected = detector.predict(boxes=boxes, oriented_boxes=oriented, correct_boxes=1.0)
    moved = corrected.boxes[:2]
    assert not moved.isclose(torch.tensor(boxes)).all(dim=1).any()
    asked = predictor.predict(image=image, boxes=moved, oriented_boxes=oriented)
    assert corrected.masks.codes == asked.masks.codes

    detected = detector.detect()
    asked = predictor.predict(image=image, boxes=detected.boxes)
    assert len(detected) > 0 and detected.masks.codes == asked.masks.codes


def test_training_does_not_see_it(sopseg, monkeypatch):
    def fail(*_):
        raise AssertionError("asked for masks")

    _, branch = sopseg
    monkeypatch.setattr(SOPSegBranch, "masks", fail)
    inputs = make_inputs()
    plain, branched = build(make_tiny_config()), build(make_tiny_config(**branch))
    assert sum(p.numel() for p in branched.parameters()) == sum(p.numel() for p in plain.parameters())
    a, b = losses_of(plain, inputs), losses_of(branched, inputs)
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_checkpoint_that_is_missing_or_none_is_named(tmp_path):
    options = {"MODEL__SOPSEG_BRANCH__ENABLED": True}
    with pytest.raises(CheckpointError, match=r"MODEL.SOPSEG_BRANCH.WEIGHTS: expected a checkpoint, got ''"):
        build(make_tiny_config(**options))
    wrong = tmp_path / "wrong.pth"
    wrong.write_text("hello")
    model = build(make_tiny_config(**options, MODEL__SOPSEG_BRANCH__WEIGHTS=str(wrong))).eval()
    with pytest.raises(CheckpointError, match="MODEL.SOPSEG_BRANCH.WEIGHTS: .*wrong.pth"), torch.no_grad():
        model(make_inputs())
    with pytest.raises(CheckpointError, match="MODEL.SOPSEG_BRANCH.WEIGHTS: .*wrong.pth"):
        PromptPredictor(model)  # before the first image


@pytest.mark.parametrize("size", [100, 0, 1088])
def test_crops_that_are_not_possible_are_told_before_the_first_image(tmp_path, size):
    (tmp_path / "sopseg.pth").touch()
    with pytest.raises(ValueError, match=f"^MODEL.SOPSEG_BRANCH.INPUT_SIZE: expected a multiple of 64 .* got {size}$"):
        SOPSegBranch(tmp_path / "sopseg.pth", size)
