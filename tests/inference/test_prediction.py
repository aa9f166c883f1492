"""Prediction: what it converts to and what it writes, compared with COCO's, Detectron2's and supervision's own code."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from insight.errors import InputError
from insight.inference import Prediction
from insight.modeling.sopseg.image_masks import CropLogits
from insight.structures.rle import RLEMasks

SIZE = (30, 40)
BITMAPS = np.zeros((3, *SIZE), bool)
BITMAPS[0, 2:12, 3:13] = True
BITMAPS[0, 5:8, 6:9] = False  # a hole
BITMAPS[1, 8:20, 10:25] = True
BITMAPS[1, 25, 39] = True  # two parts
BOXES = torch.tensor([[3.0, 2, 13, 12], [10, 8, 40, 26], [1.004, 2, 3, 4.5]])
NOT_ORIENTED = float("nan")


@pytest.fixture
def prediction():
    corners = torch.full((3, 4, 2), NOT_ORIENTED)
    corners[1] = torch.tensor([[10.0, 8], [40, 8], [40, 26], [10, 26]])
    return Prediction(
        SIZE,
        boxes=BOXES,
        scores=torch.tensor([0.9, 0.8000004, 0.5]),
        masks=RLEMasks.from_bitmaps(torch.from_numpy(BITMAPS)),
        oriented_boxes=corners,
        class_ids=torch.tensor([1, 0, 1]),
        categories=["ship", "tank"],
    )


@pytest.fixture
def boxes_only():
    return Prediction(SIZE, boxes=BOXES, scores=torch.ones(3))


def test_masks_are_an_array(prediction):
    assert np.array_equal(np.asarray(prediction.masks), BITMAPS) and np.asarray(prediction.masks).dtype == bool
    assert np.array(prediction.masks, dtype=np.uint8).dtype == np.uint8
    with pytest.raises(ValueError, match="decoding needs a copy"):
        np.array(prediction.masks, copy=False)
    assert prediction.class_names == ["tank", "ship", "tank"] and prediction.prompt_ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "item, chosen",
    [
        (0, [0]),
        (-1, [2]),
        (np.int64(1), [1]),
        (torch.tensor(2), [2]),
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
        (torch.tensor([False, True, False]), [1]),
        ([True, False, False], [0]),
        (torch.tensor([-1, 1]), [2, 1]),
        (np.array([], int), []),
        ([], []),
    ],
)
def test_selecting(prediction, item, chosen):
    found = prediction[item]
    assert isinstance(found, Prediction) and len(found) == len(chosen)
    assert found.boxes.equal(BOXES[chosen]) and np.array_equal(np.asarray(found.masks), BITMAPS[chosen])
    assert found.prompt_ids.tolist() == chosen and found.class_ids.tolist() == [[1, 0, 1][i] for i in chosen]
    assert found.oriented_boxes.isfinite().all((1, 2)).tolist() == [i == 1 for i in chosen]
    codes = prediction.masks[item]
    assert (codes == prediction.masks.codes[chosen[0]]) if isinstance(codes, dict) else codes.codes == found.masks.codes


def test_every_field_is_selected(prediction):
    prediction.logits = CropLogits(torch.arange(3.0).reshape(3, 1, 1), torch.zeros(3, 4), torch.zeros(3, 1, 1))
    found = prediction[prediction.scores > 0.6]
    assert found.logits.crops.flatten().tolist() == [0, 1] and found.categories == prediction.categories
    assert [one.scores.item() for one in prediction] == prediction.scores.tolist()


@pytest.mark.parametrize("item", [3, -4, [0, 3], [True], "0", 1.0, np.zeros((1, 1), int), None])
def test_what_is_no_index(prediction, item):
    with pytest.raises(IndexError):
        prediction[item]
    with pytest.raises(IndexError):
        prediction.masks[item]


def test_fields_of_other_lengths(prediction):
    with pytest.raises(ValueError, match="scores: expected 3, one for each box, got 2"):
        Prediction(SIZE, boxes=BOXES, scores=torch.ones(2))


def test_coco(prediction, boxes_only):
    annotations = prediction.to_coco(image_id="a")
    assert [a["category_id"] for a in annotations] == [2, 1, 2] and {a["image_id"] for a in annotations} == {"a"}
    assert annotations[2]["bbox"] == [1, 2, 2, 2.5] and annotations[1]["score"] == 0.8
    assert [a["area"] for a in annotations] == BITMAPS.sum((1, 2)).tolist()
    for annotation, bitmap in zip(json.loads(json.dumps(annotations)), BITMAPS):
        assert np.array_equal(coco_mask.decode(annotation["segmentation"]), bitmap)
    assert ["oriented_box" in a for a in annotations] == [False, True, False]
    assert annotations[1]["oriented_box"] == [10, 8, 40, 8, 40, 26, 10, 26]
    plain = boxes_only.to_coco()
    assert [a["area"] for a in plain] == [100, 540, 4.99] and not any("segmentation" in a for a in plain)


def test_polygons_are_the_masks_again(prediction):
    for polygons, bitmap in zip(prediction.to_polygons(), BITMAPS):
        flat = [polygon.ravel().astype(float).tolist() for polygon in polygons]
        mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, *SIZE))) if flat else np.zeros(SIZE)
        assert np.array_equal(mask, bitmap)


def test_instances_there_and_back(prediction, boxes_only):
    instances = prediction.to_instances()
    assert instances.image_size == SIZE and instances.pred_boxes.tensor.equal(BOXES)
    assert instances.pred_classes.tolist() == [1, 0, 1] and instances.pred_masks.codes == prediction.masks.codes
    back = Prediction.from_instances(instances[instances.scores > 0.6], prediction.categories)
    assert len(back) == 2 and back.masks.codes == prediction.masks.codes[:2] and back.class_names == ["tank", "ship"]
    assert not boxes_only.to_instances().has("pred_masks")
    found = Instances(SIZE, pred_boxes=Boxes(BOXES), scores=torch.ones(3), pred_classes=torch.zeros(3).long())
    found.pred_masks = torch.from_numpy(BITMAPS)
    assert np.array_equal(np.asarray(Prediction.from_instances(found).masks), BITMAPS)


def test_without_detectron2(prediction, monkeypatch):
    monkeypatch.setitem(sys.modules, "detectron2.structures", None)
    with pytest.raises(InputError, match="to_instances: Detectron2 is not installed"):
        prediction.to_instances()


def check_supervision(detections, prediction):
    assert np.array_equal(detections.xyxy, BOXES.numpy()) and np.array_equal(detections.mask, BITMAPS)
    assert np.array_equal(detections.confidence, prediction.scores.numpy())
    assert detections.class_id.tolist() == [1, 0, 1]
    assert detections.data["class_name"].tolist() == ["tank", "ship", "tank"]
    corners = detections.data["xyxyxyxy"]
    assert corners.shape == (3, 4, 2) and np.isfinite(corners).all()
    assert corners[0].tolist() == [[3, 2], [13, 2], [13, 12], [3, 12]]


def test_supervision_by_its_arguments(prediction, monkeypatch):
    module = ModuleType("supervision")
    module.Detections = SimpleNamespace
    monkeypatch.setitem(sys.modules, "supervision", module)
    check_supervision(prediction.to_supervision(), prediction)
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match="to_supervision: supervision is not installed"):
        prediction.to_supervision()


def test_supervision_itself(prediction, boxes_only):
    pytest.importorskip("supervision")
    check_supervision(prediction.to_supervision(), prediction)
    assert boxes_only.to_supervision().mask is None and len(prediction[[]].to_supervision()) == 0


def test_a_coco_file(prediction, tmp_path):
    prediction.save(tmp_path / "new" / "found.json", file_name="harbour.png")
    coco = COCO(str(tmp_path / "new" / "found.json"))
    assert coco.dataset["images"] == [{"id": 1, "file_name": "harbour.png", "height": 30, "width": 40}]
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["ship", "tank"]
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert [a["id"] for a in annotations] == [1, 2, 3]
    for annotation, bitmap in zip(annotations, BITMAPS):
        assert np.array_equal(coco.annToMask(annotation), bitmap)


def test_a_label_map(prediction, boxes_only, tmp_path):
    prediction.save(tmp_path / "labels.PNG")
    labels = np.array(Image.open(tmp_path / "labels.PNG"))
    assert labels.dtype == np.uint16 and labels.shape == SIZE
    expected = np.zeros(SIZE, int)
    for i in (1, 0):  # the best on top
        expected[BITMAPS[i]] = i + 1
    assert np.array_equal(labels, expected) and (BITMAPS[0] & BITMAPS[1]).any()
    with pytest.raises(InputError, match="the prediction has no masks"):
        boxes_only.save(tmp_path / "none.png")
    for name in ("found.tif", "found"):
        with pytest.raises(InputError, match=r"path: expected a file name that ends in .json or .png, got .*found"):
            prediction.save(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["labels.PNG"]


def test_a_plot(prediction, tmp_path):
    image = np.full((*SIZE, 3), 90, np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    drawn = prediction.plot(image, scale=1)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8 and (image == 90).all()
    assert (drawn[~BITMAPS.any(0)] == 90).mean() > 0.5 and (drawn[BITMAPS.any(0)] != 90).any(1).mean() > 0.9
    assert np.array_equal(prediction.plot(tmp_path / "image.png", scale=1), drawn)
    assert prediction.plot(image).shape == (4 * SIZE[0], 4 * SIZE[1], 3)
    with pytest.raises(InputError, match="image: expected the image of this prediction, 40 x 30 pixels, got 30 x 40"):
        prediction.plot(image.transpose(1, 0, 2))


def test_nothing_found(tmp_path):
    empty = Prediction(SIZE, boxes=torch.zeros(0, 4), scores=torch.zeros(0), masks=RLEMasks([], SIZE))
    assert len(empty) == 0 and list(empty) == [] and empty.to_coco() == [] and empty.to_polygons() == []
    assert np.asarray(empty.masks).shape == (0, *SIZE) and len(empty.to_instances()) == 0
    for name in ("none.json", "none.png"):
        empty.save(tmp_path / name)
    assert not np.array(Image.open(tmp_path / "none.png")).any()
    assert empty.plot(np.zeros((*SIZE, 3), np.uint8), scale=1).sum() == 0


def test_to_geodataframe_rasterises_to_the_masks(prediction, boxes_only):
    rasterio = pytest.importorskip("rasterio.features")
    from affine import Affine

    transform = Affine(0.5, 0, 480_000, 0, -0.5, 5_700_000)
    table = prediction.to_geodataframe(transform, "EPSG:32631")
    assert table.class_name.tolist() == ["tank", "ship", "tank"] and table.crs.to_epsg() == 32631
    assert table.score.tolist() == [0.9, 0.8, 0.5] and table.instance_id.tolist() == [1, 2, 3]
    for bitmap, polygon in zip(BITMAPS[:2], table.geometry):
        drawn = rasterio.rasterize([polygon], out_shape=SIZE, transform=transform)
        np.testing.assert_array_equal(drawn, bitmap)
    assert table.geometry[2] is None  # no pixel
    assert table.area_m2[0] == pytest.approx(BITMAPS[0].sum() / 4 / 0.9996**2, rel=1e-4)
    boxes = boxes_only.to_geodataframe()
    np.testing.assert_allclose(boxes.bounds, BOXES)
    assert boxes.crs is None and boxes.area_m2.isna().all()
