"""insight.masks: from any detector's results to a prediction."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from detectron2.structures import Boxes, Instances, RotatedBoxes
from helpers.tiny_sopseg import save_tiny_checkpoint, small_sopseg

import insight
from insight import SOPSegPredictor
from insight.errors import InputError
from insight.structures.oriented_boxes import oriented_corners

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
BOXES = np.array([[20.0, 30, 36, 40], [70, 50, 80, 66]])
ROTATED = np.array([[40.0, 30, 24, 10, 30], [70, 60, 30, 12, -75]])
RADIANS = np.concatenate([ROTATED[:, :4], -np.deg2rad(ROTATED[:, 4:])], 1)
NAMES = {0: "plane", 1: "ship", 4: "harbour"}
CLASSES = [4, 1]


@pytest.fixture(scope="module")
def predictor():
    return SOPSegPredictor(small_sopseg(), input_size=64)


def ultralytics(**found):
    return SimpleNamespace(**{"boxes": None, "obb": None, **found}, names=NAMES)


RESULTS = {
    "ultralytics": ultralytics(boxes=SimpleNamespace(xyxy=torch.tensor(BOXES), cls=torch.tensor(CLASSES).float())),
    "ultralytics obb": ultralytics(
        obb=SimpleNamespace(xywhr=torch.tensor(RADIANS), cls=torch.tensor(CLASSES).float(), xyxy=None)
    ),
    "supervision": SimpleNamespace(
        xyxy=BOXES, class_id=np.array(CLASSES), data={"class_name": np.array(["harbour", "ship"])}
    ),
    "supervision obb": SimpleNamespace(
        xyxy=np.zeros((2, 4)),
        class_id=np.array(CLASSES),
        data={"xyxyxyxy": oriented_corners(ROTATED).numpy(), "class_name": np.array(["harbour", "ship"])},
    ),
    "mmrotate": SimpleNamespace(
        pred_instances=SimpleNamespace(
            bboxes=SimpleNamespace(tensor=torch.tensor(RADIANS), rbox2corner=None), labels=torch.tensor(CLASSES)
        )
    ),
    "torchvision": {"boxes": torch.tensor(BOXES), "labels": torch.tensor(CLASSES), "scores": torch.ones(2)},
    "Detectron2": {
        "instances": Instances((90, 120), pred_boxes=Boxes(torch.tensor(BOXES)), pred_classes=torch.tensor(CLASSES))
    },
    "Detectron2 rotated": Instances(
        (90, 120), pred_boxes=RotatedBoxes(torch.tensor(ROTATED)), pred_classes=torch.tensor(CLASSES)
    ),
}


@pytest.mark.parametrize("library", RESULTS)
def test_results_of_other_libraries(predictor, library):
    rotated = any(word in library for word in ("obb", "mmrotate", "rotated"))
    expected = predictor.predict(image=IMAGE, **({"oriented_boxes": ROTATED} if rotated else {"boxes": BOXES}))
    found = insight.masks(IMAGE, RESULTS[library], model=predictor)
    assert found.class_ids.tolist() == CLASSES
    names = ["harbour", "ship"] if "ultralytics" in library or "supervision" in library else ["4", "1"]
    assert found.class_names == names and (found.oriented_boxes is not None) == rotated
    differing = (np.asarray(found.masks) != np.asarray(expected.masks)).mean()
    assert differing < 1e-3 and np.asarray(found.masks).any((1, 2)).all()  # radians are rounded
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-3, rtol=1e-3)


def test_a_list_of_one_and_boxes_alone(predictor):
    expected = predictor.predict(image=IMAGE, boxes=BOXES).masks.codes
    assert insight.masks(IMAGE, [RESULTS["ultralytics"]], model=predictor).masks.codes == expected
    for boxes in (BOXES, BOXES.tolist(), torch.tensor(BOXES), list(BOXES)):
        found = insight.masks(IMAGE, boxes, model=predictor)
        assert found.masks.codes == expected and found.class_names == ["object", "object"]
    rotated = predictor.predict(image=IMAGE, oriented_boxes=ROTATED).masks.codes
    assert insight.masks(IMAGE[:, :, ::-1], ROTATED, model=predictor, order="BGR").masks.codes == rotated
    assert len(insight.masks(IMAGE, [], model=predictor)) == 0
    none = ultralytics(boxes=SimpleNamespace(xyxy=torch.zeros(0, 4), cls=torch.zeros(0)))
    assert len(insight.masks(IMAGE, none, model=predictor)) == 0
    with pytest.raises(InputError, match="results: expected those of one image, got a list of 2"):
        insight.masks(IMAGE, [RESULTS["ultralytics"]] * 2, model=predictor)
    with pytest.raises(InputError, match="boxes: expected numbers"):
        insight.masks(IMAGE, SimpleNamespace(), model=predictor)


def test_a_model_and_a_checkpoint(tmp_path, monkeypatch):
    model = save_tiny_checkpoint(tmp_path / "sam.pth", monkeypatch)
    one = insight.masks(IMAGE, BOXES, model=model)
    other = insight.masks(IMAGE, BOXES, model=tmp_path / "sam.pth")
    assert one.masks.codes == other.masks.codes == SOPSegPredictor(model).predict(image=IMAGE, boxes=BOXES).masks.codes
    with pytest.raises(InputError, match="weights: expected a checkpoint's path or a SOPSeg, got int"):
        insight.masks(IMAGE, BOXES, model=7)


def test_supervision_itself(predictor):
    supervision = pytest.importorskip("supervision")
    detections = supervision.Detections(
        xyxy=BOXES, class_id=np.array(CLASSES), data={"class_name": np.array(["a", "b"])}
    )
    found = insight.masks(IMAGE, detections, model=predictor)
    assert found.masks.codes == predictor.predict(image=IMAGE, boxes=BOXES).masks.codes
    assert found.class_names == ["a", "b"]
    corners = predictor.predict(image=IMAGE, oriented_boxes=ROTATED).to_supervision()
    again = insight.masks(IMAGE, corners, model=predictor)
    assert np.array_equal(np.asarray(again.masks), corners.mask)


def test_torchvision_itself(predictor):
    torch.manual_seed(0)
    detector = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=3, box_score_thresh=0, box_detections_per_img=3
    ).eval()
    with torch.no_grad():
        results = detector([torch.from_numpy(IMAGE).permute(2, 0, 1) / 255])
    found = insight.masks(IMAGE, results, model=predictor, class_names=["background", "ship", "plane"])
    assert len(found) == 3
    assert found.class_ids.tolist() == results[0]["labels"].tolist()
    assert set(found.class_names) <= {"ship", "plane"}
    expected = predictor.predict(image=IMAGE, boxes=results[0]["boxes"])
    assert found.masks.codes == expected.masks.codes
    with pytest.raises(InputError, match="class_names: expected [23] or more"):
        insight.masks(IMAGE, results, model=predictor, class_names=["background"])
    with pytest.raises(InputError, match="results: expected boxes or instances"):
        insight.masks(IMAGE, {"labels": results[0]["labels"]}, model=predictor)


def test_ultralytics_itself(predictor):
    """Its classes of results, as its models fill them."""
    results = pytest.importorskip("ultralytics.engine.results")
    about = torch.tensor([[0.9, 4], [0.8, 1]])
    horizontal = results.Results(IMAGE, "port.png", NAMES, boxes=torch.cat([torch.tensor(BOXES).float(), about], 1))
    rotated = torch.cat([torch.tensor(RADIANS).float(), about], 1)
    oriented = results.Results(IMAGE, "port.png", NAMES, obb=rotated)
    expected = {"boxes": BOXES}, {"oriented_boxes": ROTATED}
    for given, prompts in zip((horizontal, oriented), expected):
        found = insight.masks(IMAGE, [given], model=predictor)
        assert found.class_names == ["harbour", "ship"]
        masks = np.asarray(predictor.predict(image=IMAGE, **prompts).masks)
        assert (np.asarray(found.masks) != masks).mean() < 1e-3


def test_data_samples_of_mmengine(predictor):
    """What the data samples of mmdetection and mmrotate are made of; both need a compiled mmcv."""
    structures = pytest.importorskip("mmengine.structures")
    found = structures.InstanceData(bboxes=torch.tensor(BOXES).float(), labels=torch.tensor(CLASSES))
    sample = structures.BaseDataElement()
    sample.set_field(found, "pred_instances", dtype=structures.InstanceData)
    prediction = insight.masks(IMAGE, [sample], model=predictor, class_names=["a", "b", "c", "d", "e"])
    assert prediction.class_names == ["e", "b"]
    assert prediction.masks.codes == predictor.predict(image=IMAGE, boxes=BOXES).masks.codes
