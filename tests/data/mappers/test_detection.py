"""The mapper: what it gives, that frames agree, that a seed decides."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

import torch
import torch.nn.functional as F
from detectron2.config import get_cfg
from detectron2.data import DatasetMapper, detection_utils
from detectron2.structures import BitMasks, BoxMode, PolygonMasks
from pycocotools import mask as coco_mask

from insight.config import add_insight_config, load_config
from insight.data.mappers.detection import PromptDatasetMapper, Rotate90Transform
from insight.data.scenes import draw_scene

HEIGHT, WIDTH = 150, 230


def config(overrides):
    cfg = get_cfg()
    add_insight_config(cfg)
    cfg.merge_from_list(overrides)
    return cfg


def make(overrides=(), is_train=True):
    base = [
        "INPUT.MIN_SIZE_TRAIN", "(60, 80)", "INPUT.MAX_SIZE_TRAIN", "400", "INPUT.MIN_SIZE_TEST", "100",
        "MODEL.MASK_ON", "True", "MODEL.PROMPT.LPM.ENABLED", "True", "MODEL.DEVICE", "cpu",
    ]  # fmt: skip
    return PromptDatasetMapper(config([*base, *overrides]), is_train)


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    """A scene as a dataset dict with polygons."""
    scene = draw_scene(2, (HEIGHT, WIDTH), "tank_farm", "optical")
    path = tmp_path_factory.mktemp("mapper") / "scene.png"
    cv2.imwrite(str(path), cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR))
    annotations = []
    for instance in scene.instances:
        contours, _ = cv2.findContours(
            instance.full_mask((HEIGHT, WIDTH)).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        polygons = [(c[:, 0] + 0.5).ravel().tolist() for c in contours if len(c) > 3]
        if polygons:
            annotations.append(
                {"bbox": list(instance.box), "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "segmentation": polygons}
            )
    assert len(annotations) > 5
    size = {"height": HEIGHT, "width": WIDTH}
    return {"file_name": str(path), "image_id": 1, **size, "annotations": annotations}


def test_without_our_options_it_is_detectron2s(entry):
    cfg = config(["MODEL.MASK_ON", "True", "MODEL.DEVICE", "cpu", "INPUT.RANDOM_FLIP", "none"])
    for is_train in (True, False):
        np.random.seed(5)
        theirs = DatasetMapper(cfg, is_train)(entry)
        np.random.seed(5)
        mine = PromptDatasetMapper(cfg, is_train)(entry)
        assert mine.keys() == theirs.keys() and "prompt_image" not in mine
        assert torch.equal(mine["image"], theirs["image"])
        if is_train:
            assert torch.equal(mine["instances"].gt_boxes.tensor, theirs["instances"].gt_boxes.tensor)
            for one, other in zip(mine["instances"].gt_masks.polygons, theirs["instances"].gt_masks.polygons):
                assert all(np.array_equal(a, b) for a, b in zip(one, other))


@pytest.mark.parametrize("crop", [False, True])
def test_prompt_image_and_image_show_the_same_in_every_box(entry, crop):
    """Crops of the full-resolution image at scaled boxes against crops of the network's input."""
    overrides = ["INPUT.ROTATE_90", "True", "INPUT.CROP.ENABLED", str(crop), "INPUT.CROP.SIZE", "[0.7, 0.8]"]
    mapper = make(overrides)
    shapes, correlations = set(), []
    for seed in range(12):
        sample = mapper({**entry, "sample_seed": seed})
        image, full = sample["image"].float(), sample["prompt_image"].float()
        shapes.add(tuple(full.shape[1:]))
        assert sample["prompt_image"].dtype == torch.uint8 and sample["prompt_image"].is_contiguous()
        scale = np.array([full.shape[2] / image.shape[2], full.shape[1] / image.shape[1]] * 2)
        assert scale.min() > 1.05, "full resolution is more than the network's"
        for box in sample["instances"].gt_boxes.tensor.numpy():
            x0, y0, x1, y1 = np.rint(box).astype(int)
            if min(x1 - x0, y1 - y0) < 6:
                continue
            a, b, c, d = np.rint(np.array([x0, y0, x1, y1]) * scale).astype(int)
            low = image[None, :, y0:y1, x0:x1]
            high = F.interpolate(full[None, :, b:d, a:c], low.shape[2:], mode="bilinear", antialias=True)
            correlations.append(np.corrcoef(low.flatten(), high.flatten())[0, 1])
    assert len(correlations) > 20
    assert np.median(correlations) > 0.97 and np.mean(np.array(correlations) > 0.9) > 0.9
    if not crop:
        assert shapes == {(HEIGHT, WIDTH), (WIDTH, HEIGHT)}


@pytest.mark.parametrize("turns", range(4))
def test_rotation_moves_points_with_their_pixels(turns):
    image = np.arange(5 * 7).reshape(5, 7)
    transform = Rotate90Transform(turns, 5, 7)
    rows, columns = np.mgrid[:5, :7]
    points = np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5
    moved = transform.apply_coords(points)
    pixels = (moved - 0.5).astype(int)
    assert np.array_equal(transform.apply_image(image)[pixels[:, 1], pixels[:, 0]], image.ravel())
    assert np.array_equal(transform.inverse().apply_coords(moved), points)
    assert np.array_equal(transform.inverse().apply_image(transform.apply_image(image)), image)


def test_boxes_still_hold_their_masks_after_augmentation(entry):
    mapper = make(["INPUT.ROTATE_90", "True"])
    for seed in range(8):
        instances = mapper({**entry, "sample_seed": seed})["instances"]
        tight = instances.gt_masks.get_bounding_boxes().tensor
        assert (tight - instances.gt_boxes.tensor).abs().max() < 1.5


@pytest.mark.parametrize("size", [(2, 5000), (5000, 2), (1, 3000)])
def test_no_side_of_a_thin_image_vanishes(size, tmp_path):
    """Beyond a ratio of sides of twice the largest size, Detectron2's resize rounds the shorter one to nothing."""
    path = tmp_path / "strip.png"
    cv2.imwrite(str(path), np.full((*size, 3), 90, np.uint8))
    cfg = load_config("", ["INPUT.MIN_SIZE_TEST", "800", "INPUT.MAX_SIZE_TEST", "1333"])
    sample = PromptDatasetMapper(cfg, is_train=False)({"file_name": str(path), "image_id": 1})
    assert sorted(sample["image"].shape[1:]) == [1, 1333]


def test_polygons_and_rle_give_the_same_masks(entry):
    def area(annotation):
        return coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(annotation["segmentation"], HEIGHT, WIDTH)))

    # Slivers may be empty in one form and a pixel in the other, and are left out then.
    entry = {**entry, "annotations": [a for a in entry["annotations"] if area(a) > 30]}
    rle = {**entry, "annotations": [
        {**a, "segmentation": coco_mask.merge(coco_mask.frPyObjects(a["segmentation"], HEIGHT, WIDTH))}
        for a in entry["annotations"]
    ]}  # fmt: skip
    for seed in range(4):
        one = make(["INPUT.ROTATE_90", "True"])({**entry, "sample_seed": seed})["instances"]
        two = make(["INPUT.ROTATE_90", "True"])({**rle, "sample_seed": seed})["instances"]
        assert len(one) == len(two) > 0
        assert isinstance(one.gt_masks, PolygonMasks) and isinstance(two.gt_masks, BitMasks)
        size = one.image_size
        for polygons, bitmap in zip(one.gt_masks.polygons, two.gt_masks.tensor):
            drawn = torch.from_numpy(detection_utils.polygons_to_bitmask(polygons, *size))
            union = (drawn | bitmap).sum()
            if union > 150:
                assert (drawn & bitmap).sum() / union > 0.8


@pytest.fixture
def labelled(entry, tmp_path):
    """The entry with a label map: 0 on its objects, 1 elsewhere, 255 in its upper left corner."""
    labels = np.ones((HEIGHT, WIDTH), np.uint8)
    for annotation in entry["annotations"]:
        labels[
            detection_utils.polygons_to_bitmask([np.array(p) for p in annotation["segmentation"]], *labels.shape)
        ] = 0
    labels[:20, :20] = 255
    path = tmp_path / "labels.png"
    cv2.imwrite(str(path), labels)
    return {**entry, "sem_seg_file_name": str(path)}


SEMANTIC = ("MODEL.SCNET.SEMANTIC.ENABLED", "True", "MODEL.ROI_HEADS.NUM_CLASSES", "1")


def test_label_maps_move_with_the_objects(labelled):
    mapper = make([*SEMANTIC, "INPUT.ROTATE_90", "True", "INPUT.CROP.ENABLED", "True"])
    for seed in range(8):
        sample = mapper({**labelled, "sample_seed": seed})
        labels, instances = sample["sem_seg"], sample["instances"]
        assert labels.dtype == torch.uint8 and labels.shape == sample["image"].shape[1:] == instances.image_size
        drawn = torch.zeros(labels.shape, dtype=torch.bool)
        for polygons in instances.gt_masks.polygons:
            drawn |= torch.from_numpy(detection_utils.polygons_to_bitmask(polygons, *labels.shape))
        known = labels != 255
        assert ((labels == 0) == drawn)[known].float().mean() > 0.97


def test_label_maps_are_read_only_by_those_who_learn_them(labelled):
    assert "sem_seg" not in make()(labelled)
    assert "sem_seg" not in make(SEMANTIC, is_train=False)(labelled)
    without = {k: v for k, v in labelled.items() if k != "sem_seg_file_name"}
    assert "sem_seg" not in make(SEMANTIC)(without)


def test_bad_label_maps(labelled, tmp_path):
    def written(array):
        cv2.imwrite(str(tmp_path / "bad.png"), array)
        return {**labelled, "sem_seg_file_name": str(tmp_path / "bad.png")}

    for array, message in (
        (np.full((HEIGHT, WIDTH), 7, np.uint8), "bad.png: label 7 is out of range: expected 0 to 1, or 255"),
        (np.zeros((HEIGHT, WIDTH, 3), np.uint8), "bad.png: expected a label map of one band of 8 bits, got RGB"),
        (np.zeros((HEIGHT, WIDTH + 1), np.uint8), "bad.png: the label map is 231 x 150 pixels, its image 230 x 150"),
    ):
        with pytest.raises(ValueError, match=message):
            make(SEMANTIC)(written(array))
    whole = Path(labelled["sem_seg_file_name"]).read_bytes()
    for name, data, message in (("gone.png", None, "no such label map"), ("half.png", whole[:60], "cannot read label")):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(OSError, match=f"{message}.*{name}"):
            make(SEMANTIC)({**labelled, "sem_seg_file_name": str(tmp_path / name)})
    many = make([*SEMANTIC, "MODEL.SCNET.SEMANTIC.NUM_CLASSES", "8"])
    assert many(written(np.full((HEIGHT, WIDTH), 7, np.uint8)))["sem_seg"].unique().tolist() == [7]


def test_a_seed_decides_and_the_global_state_is_left_alone(entry):
    mapper = make(["INPUT.ROTATE_90", "True", "INPUT.CROP.ENABLED", "True"])
    np.random.seed(1)
    first = mapper({**entry, "sample_seed": 9})
    after = np.random.rand()
    np.random.seed(2)
    second = mapper({**entry, "sample_seed": 9})
    assert torch.equal(first["prompt_image"], second["prompt_image"]) and torch.equal(first["image"], second["image"])
    np.random.seed(1)
    assert np.random.rand() == after
    others = [mapper({**entry, "sample_seed": s})["image"] for s in range(6)]
    assert any(o.shape != first["image"].shape or not torch.equal(o, first["image"]) for o in others)
    assert "sample_seed" not in first and "annotations" not in first


def test_testing_keeps_the_image_and_returns_no_instances(entry):
    sample = make(is_train=False)(entry)
    assert "instances" not in sample
    original = cv2.imread(entry["file_name"])
    assert np.array_equal(sample["prompt_image"].permute(1, 2, 0).numpy(), original)  # INPUT.FORMAT is BGR
    assert sample["image"].shape[1] == 100


@pytest.mark.parametrize("rle", [False, True])
def test_an_image_without_instances(entry, rle):
    crowd = [{**entry["annotations"][0], "iscrowd": 1}] if rle else []
    instances = make()({**entry, "annotations": crowd})["instances"]
    assert len(instances) == 0 and instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.has("gt_masks") and len(instances.gt_masks) == 0


def test_masks_that_are_missing(entry):
    bare = {**entry, "annotations": [{k: v for k, v in a.items() if k != "segmentation"} for a in entry["annotations"]]}
    with pytest.raises(ValueError, match=r"annotations without segmentation; .* MODEL.MASK_ON False trains on boxes"):
        make()(bare)
    assert len(make(["MODEL.MASK_ON", "False"])(bare)["instances"]) == len(bare["annotations"])


def test_bad_images(entry, tmp_path):
    whole = Path(entry["file_name"]).read_bytes()
    for name, data, message in (
        ("missing.png", None, "no such image: .*missing.png"),
        ("empty.png", b"", "cannot read image .*empty.png"),
        ("truncated.png", whole[: len(whole) // 2], "cannot read image .*truncated.png"),
        ("text.jpg", b"not an image", "cannot read image .*text.jpg"),
    ):
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(OSError, match=message) as caught:
            make()({**entry, "file_name": str(path)})
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="the image is 230 x 150 pixels, its annotation file states 231 x 150"):
        make()({**entry, "width": 231})


def test_unknown_mask_format():
    with pytest.raises(ValueError, match="INPUT.MASK_FORMAT.*got 'contour'"):
        make(["INPUT.MASK_FORMAT", "contour"])
