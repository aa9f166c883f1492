"""The COCO evaluator against pycocotools, in both area profiles, with several detection limits, in two processes."""

import contextlib
import io
import json
import multiprocessing
import os

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from insight.config import load_config
from insight.data.datasets import data_root
from insight.data.datasets.coco import register_coco, register_from_config
from insight.evaluation import CocoEvaluator
from insight.evaluation.coco import average_precision, instances_to_coco
from insight.structures.rle import RLEMasks

NAME, SIZE, CATEGORIES = "test_evaluation", (700, 800), (4, 7, 90)
LIMITS = ([1, 10, 100], [1, 10, 1000], [1, 10, 100, 1000], [3], [1, 5])
RANGES = {  # written out here, as the COCO API and the iSAID devkit have them
    "coco": [[0, 1e10], [0, 1024], [1024, 9216], [9216, 1e10]],
    "isaid": [[0, 1e10], [100, 20736], [20736, 262144], [262144, 1e10]],
}


def ellipse(rng, size_range):
    """A filled ellipse as bool mask, with its XYWH box."""
    h, w = SIZE
    ry, rx = np.exp(rng.uniform(*np.log(size_range), 2))
    cy, cx = rng.uniform(0, h), rng.uniform(0, w)
    y, x = np.mgrid[:h, :w]
    return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1


def shifted(mask, rng):
    return np.roll(mask, (int(rng.normal(0, 3)), int(rng.normal(0, 3))), (0, 1))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ground truth with gaps in the category ids, a crowd and an empty image; good, bad and doubled predictions."""
    rng = np.random.default_rng(3)
    folder = tmp_path_factory.mktemp("evaluation")
    images, annotations, predictions = [], [], {}
    for image_id in range(1, 6):
        cv2.imwrite(str(folder / f"{image_id}.png"), np.zeros((*SIZE, 3), np.uint8))
        images.append({"id": image_id, "file_name": f"{image_id}.png", "height": SIZE[0], "width": SIZE[1]})
        found = []
        for k in range(0 if image_id == 5 else 9):
            mask = ellipse(rng, (4, 40) if k else (90, 340))
            if not mask.any():
                continue
            label = int(rng.integers(3))
            code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "category_id": CATEGORIES[label],
                "bbox": coco_mask.toBbox(code).tolist(), "area": float(coco_mask.area(code)),
                "segmentation": {"size": list(SIZE), "counts": code["counts"].decode()},
                "iscrowd": int(rng.random() < 0.1),
            })  # fmt: skip
            for _ in range(rng.integers(0, 4)):
                found.append((shifted(mask, rng), label if rng.random() < 0.9 else (label + 1) % 3, rng.random()))
        found += [(ellipse(rng, (4, 60)), int(rng.integers(3)), rng.random()) for _ in range(4)]
        found = [f for f in found if f[0].any()]
        instances = Instances(SIZE)
        masks = torch.from_numpy(np.stack([f[0] for f in found]))
        boxes = [coco_mask.toBbox(coco_mask.encode(np.asfortranarray(f[0], dtype=np.uint8))) for f in found]
        boxes = torch.from_numpy(np.stack(boxes)).float()
        boxes[:, 2:] += boxes[:, :2]
        instances.pred_boxes = Boxes(boxes)
        instances.scores = torch.tensor([f[2] for f in found])
        instances.pred_classes = torch.tensor([f[1] for f in found])
        instances.pred_masks = masks
        predictions[image_id] = instances
    path = folder / "annotations.json"
    categories = [{"id": c, "name": f"class{c}"} for c in CATEGORIES]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    register_coco(NAME, path, folder)
    yield path, predictions
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def feed(evaluator, predictions):
    evaluator.reset()
    for image_id, instances in predictions.items():
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    return evaluator


def reference(path, results, task, max_dets, profile, evaluator=COCOeval):
    """pycocotools; its AP takes precision at the last detection limit."""
    results = [{k: v for k, v in r.items() if k != {"bbox": "segmentation", "segm": "bbox"}[task]} for r in results]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        evaluation = evaluator(truth, truth.loadRes(results), task)
        evaluation.params.maxDets, evaluation.params.areaRng = max_dets, RANGES[profile]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]

    def mean(values):
        values = values[values > -1]
        return 100 * values.mean() if values.size else np.nan

    every = slice(None)
    picks = {"AP": (every, 0), "AP50": (0, 0), "AP75": (5, 0), "APs": (every, 1), "APm": (every, 2), "APl": (every, 3)}
    expected = {name: mean(precision[t, :, :, a, -1]) for name, (t, a) in picks.items()}
    names = [truth.cats[c]["name"] for c in evaluation.params.catIds]
    expected.update({f"AP-{name}": mean(precision[:, :, k, 0, -1]) for k, name in enumerate(names)})
    return expected


@pytest.mark.parametrize("profile", ["coco", "isaid"])
@pytest.mark.parametrize("max_dets", LIMITS, ids=str)
def test_equals_pycocotools(data, tmp_path, profile, max_dets):
    path, predictions = data
    metrics = feed(CocoEvaluator(NAME, tmp_path, max_dets, profile), predictions).evaluate()
    results = json.loads((tmp_path / f"{NAME}_results.json").read_text())
    assert {r["category_id"] for r in results} <= set(CATEGORIES)
    for task in ("bbox", "segm"):
        expected = reference(path, results, task, max_dets, profile)
        if 100 in max_dets[:-1]:  # of another evaluation, whose last limit it is
            expected["AP@100"] = reference(path, results, task, max_dets[:-1], profile)["AP"]
        assert metrics[task].keys() == expected.keys()
        for key, value in expected.items():
            assert metrics[task][key] == pytest.approx(value, abs=1e-9, nan_ok=True), (task, key)
        assert 5 < metrics[task]["AP"] < 95
    written = json.loads((tmp_path / f"{NAME}_metrics.json").read_text())
    assert written["max_dets"] == max_dets and written["area_profile"] == profile


def found_by_jitter(content, seed):
    """Detections by image id, made of a ground truth of polygons: moved, resized, of a wrong class, twice, or none."""
    rng = np.random.default_rng(seed)
    label = {c["id"]: i for i, c in enumerate(content["categories"])}
    predictions = {}
    for image in content["images"]:
        size, found = (image["height"], image["width"]), []
        for annotation in (a for a in content["annotations"] if a["image_id"] == image["id"]):
            x, y, w, h = annotation["bbox"]
            centre, extent = np.array([x + w / 2, y + h / 2]), np.array([w, h])
            for _ in range(rng.choice(3, p=[0.15, 0.7, 0.15])):
                scale, shift = rng.normal(1, 0.04, 2), rng.normal(0, 0.03, 2) * extent
                moved = [
                    ((np.array(ring).reshape(-1, 2) - centre) * scale + centre + shift).ravel().tolist()
                    for ring in annotation["segmentation"]
                ]
                code = coco_mask.merge(coco_mask.frPyObjects(moved, *size))
                wrong = rng.random() < 0.1
                category = (label[annotation["category_id"]] + wrong * rng.integers(1, len(label))) % len(label)
                if coco_mask.area(code):
                    found.append((code, category, rng.random()))
        boxes = np.array([coco_mask.toBbox(code) for code, _, _ in found], np.float32).reshape(-1, 4)
        instances = predictions[image["id"]] = Instances(size)
        instances.pred_boxes = Boxes(torch.from_numpy(np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])))
        instances.pred_classes = torch.tensor([int(category) for _, category, _ in found])
        instances.scores = torch.tensor([score for _, _, score in found])
        instances.pred_masks = RLEMasks([code for code, _, _ in found], size)
    return predictions


@pytest.mark.real_data
@pytest.mark.parametrize("profile", ["coco", "isaid"])
def test_equals_pycocotools_on_nwpu_vhr10(real_data, tmp_path, profile):
    path = data_root() / "nwpu_vhr10" / "annotations" / "instances_val.json"
    assert path.is_relative_to(real_data)
    content = json.loads(path.read_text())
    predictions = found_by_jitter(content, seed=5)
    metrics = feed(CocoEvaluator("nwpu_vhr10_val", tmp_path, area_profile=profile), predictions).evaluate()
    results = json.loads((tmp_path / "nwpu_vhr10_val_results.json").read_text())
    for annotation in content["annotations"]:
        annotation["id"] += 1  # one is 0, which pycocotools never takes for found
    from_1 = tmp_path / "from_1.json"
    from_1.write_text(json.dumps(content))
    for task in ("bbox", "segm"):
        expected = reference(from_1, results, task, [1, 10, 100], profile)
        assert metrics[task].keys() == expected.keys() and len(expected) == 6 + 10
        for key, value in expected.items():
            assert metrics[task][key] == pytest.approx(value, abs=1e-9, nan_ok=True), (task, key)
            assert np.isnan(value) or 5 < value < 95, (task, key)


class BoundaryEval(COCOeval):
    """pycocotools with the IoU of Boundary AP: that of the boundaries, of whole images, bounds that of the masks."""

    ratio = 0.02

    def computeIoU(self, image, category):
        ious = super().computeIoU(image, category)
        if len(ious) == 0:
            return ious
        truth = self._gts[image, category]
        found = sorted(self._dts[image, category], key=lambda d: -d["score"])[: self.params.maxDets[-1]]
        boundaries = [[self.boundary(a["segmentation"]) for a in part] for part in (found, truth)]
        for i, one in enumerate(boundaries[0]):
            for j, other in enumerate(boundaries[1]):
                if not truth[j]["iscrowd"]:
                    ious[i, j] = min(ious[i, j], (one & other).sum() / max((one | other).sum(), 1))
        return ious

    def boundary(self, code):
        padded = np.pad(coco_mask.decode(code), 1)
        eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=round(self.ratio * np.hypot(*SIZE)))
        return (padded > eroded)[1:-1, 1:-1]


@pytest.mark.parametrize("ratio", [0.02, 0.005])
def test_boundary_ap_equals_pycocotools_with_eroded_masks(data, tmp_path, monkeypatch, caplog, ratio):
    caplog.set_level("INFO", "insight")
    path, predictions = data
    evaluator = CocoEvaluator(NAME, tmp_path, tasks=("segm", "boundary"), boundary_ratio=ratio)
    metrics = feed(evaluator, predictions).evaluate()
    results = json.loads((tmp_path / f"{NAME}_results.json").read_text())
    monkeypatch.setattr(BoundaryEval, "ratio", ratio)
    expected = reference(path, results, "segm", [1, 10, 100], "coco", BoundaryEval)
    for key, value in expected.items():
        assert metrics["boundary"][key] == pytest.approx(value, abs=1e-9, nan_ok=True), key
    assert 1 < metrics["boundary"]["AP"] < metrics["segm"]["AP"]
    assert json.loads((tmp_path / f"{NAME}_metrics.json").read_text())["boundary_ratio"] == ratio
    assert f"boundary: ratio {ratio} of the image's diagonal" in caplog.text


def test_profiles_and_limits_matter(data):
    _, predictions = data
    by_profile = [feed(CocoEvaluator(NAME, area_profile=p), predictions).evaluate()["segm"] for p in RANGES]
    assert by_profile[0]["AP"] == by_profile[1]["AP"]
    assert by_profile[0]["APm"] != by_profile[1]["APm"]
    few = feed(CocoEvaluator(NAME, max_dets=[1]), predictions).evaluate()["segm"]
    assert few["AP"] < by_profile[0]["AP"]


def test_rle_equals_bitmaps(data):
    _, predictions = data
    as_rle = {}
    for image_id, instances in predictions.items():
        other = Instances(SIZE, **instances.get_fields())
        codes = [coco_mask.encode(np.asfortranarray(m.numpy(), dtype=np.uint8)) for m in instances.pred_masks]
        other.remove("pred_masks")
        other.pred_masks = RLEMasks(codes, SIZE)
        as_rle[image_id] = other
    assert feed(CocoEvaluator(NAME), as_rle).evaluate() == feed(CocoEvaluator(NAME), predictions).evaluate()


def test_perfect_predictions_score_100(data):
    path, _ = data
    content = json.loads(path.read_text())
    predictions = {}
    for image in content["images"]:
        own = [a for a in content["annotations"] if a["image_id"] == image["id"] and not a["iscrowd"]]
        instances = Instances(SIZE)
        boxes = torch.tensor([a["bbox"] for a in own]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances.pred_boxes = Boxes(boxes)
        instances.scores = torch.ones(len(own))
        instances.pred_classes = torch.tensor([CATEGORIES.index(a["category_id"]) for a in own], dtype=torch.int64)
        instances.pred_masks = RLEMasks([a["segmentation"] for a in own], SIZE)
        predictions[image["id"]] = instances
    metrics = feed(CocoEvaluator(NAME), predictions).evaluate()
    assert all(value == pytest.approx(100) for task in metrics.values() for value in task.values())


def test_no_predictions_score_nothing(data, caplog):
    metrics = feed(CocoEvaluator(NAME), {}).evaluate()
    assert metrics["bbox"]["AP"] == metrics["segm"]["AP50"] == 0
    assert "no prediction" in caplog.text


def test_the_report_names_limit_and_profile(data, caplog):
    caplog.set_level("INFO")
    feed(CocoEvaluator(NAME, max_dets=[1, 10, 300], area_profile="isaid"), data[1]).evaluate()
    assert "at most 300 detections" in caplog.text
    assert "areas (isaid): small 10^2 to 144^2, medium 144^2 to 512^2, large 512^2 to any" in caplog.text
    assert "class90" in caplog.text


def test_areas_that_the_file_lacks_are_measured(data, tmp_path):
    path, predictions = data
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        del annotation["area"]
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(content))
    register_coco("test_bare", bare, path.parent)
    try:
        found = feed(CocoEvaluator("test_bare"), predictions).evaluate()
        assert found == feed(CocoEvaluator(NAME), predictions).evaluate()
    finally:
        DatasetCatalog.remove("test_bare")
        MetadataCatalog.remove("test_bare")


@pytest.fixture
def changed(data, tmp_path):
    """Register the dataset with its file changed, as "test_changed"."""

    def register(change):
        content = json.loads(data[0].read_text())
        change(content)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(content))
        if "test_changed" not in DatasetCatalog.list():
            register_coco("test_changed", path, data[0].parent)

    yield register
    DatasetCatalog.remove("test_changed")
    MetadataCatalog.remove("test_changed")


def test_rings_without_corners_make_no_difference(data, changed):
    found = []
    for rings in ([], [[], [1, 2, 3, 4]]):

        def draw(content, rings=rings):
            for annotation in content["annotations"]:
                x, y, w, h = annotation["bbox"]
                annotation["segmentation"] = [*rings, [x, y, x + w, y, x + w, y + h, x, y + h]]
                del annotation["area"]

        changed(draw)
        evaluator = CocoEvaluator("test_changed", tasks=("bbox", "segm", "boundary"))
        found.append(feed(evaluator, data[1]).evaluate())
    assert found[0] == found[1] and 1 < found[0]["segm"]["AP"] < 95


@pytest.mark.parametrize("empty", [{}, {"segmentation": []}], ids=["absent", "empty"])
def test_a_truth_of_boxes_tests_boxes(data, changed, tmp_path, caplog, empty):
    def without_masks(content):
        for annotation in content["annotations"]:
            del annotation["segmentation"]
            annotation.update(empty)

    changed(without_masks)
    evaluator = CocoEvaluator("test_changed", tmp_path, tasks=("bbox", "segm", "boundary"))
    found = feed(evaluator, data[1]).evaluate()
    assert found == {"bbox": feed(CocoEvaluator(NAME), data[1]).evaluate()["bbox"]}
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert said == ["test_changed: no annotation has a mask: only boxes are evaluated"]
    written = json.loads((tmp_path / "test_changed_metrics.json").read_text())
    assert written.keys() == {"max_dets", "area_profile", "bbox"}
    with pytest.raises(ValueError, match="^test_changed: no annotation has a mask to compare; both"):
        feed(CocoEvaluator("test_changed", tasks=("segm",)), data[1]).evaluate()
    assert feed(CocoEvaluator("test_changed", tasks=("bbox",)), data[1]).evaluate() == found
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1


def test_predictions_without_masks_test_boxes(data, tmp_path, caplog):
    boxes = {}
    for image_id, instances in data[1].items():
        boxes[image_id] = Instances(instances.image_size, **instances.get_fields())
        boxes[image_id].remove("pred_masks")
    found = feed(CocoEvaluator(NAME, tmp_path), boxes).evaluate()
    assert found == {"bbox": feed(CocoEvaluator(NAME), data[1]).evaluate()["bbox"]}
    assert f"{NAME}: no prediction has a mask: only boxes are evaluated" in caplog.text
    with pytest.raises(ValueError, match=f"^{NAME}: no prediction has a mask to compare; both"):
        feed(CocoEvaluator(NAME, tasks=("segm",)), boxes).evaluate()


@pytest.mark.parametrize("ids", [{1: 0, 2: 1}, {1: 0, 0: 1}, {7: 1, 9: 0}], ids=str)
def test_a_data_set_of_dicts_keeps_its_category_ids(ids):
    """As Detectron2's users register them: no COCO file, and the ids of theirs in the metadata."""
    name = "test_of_dicts"
    annotations = [
        {"bbox": [5 + 30 * k, 5, 25 + 30 * k, 25], "bbox_mode": BoxMode.XYXY_ABS, "category_id": k} for k in (0, 1)
    ]
    image = {"file_name": "x.png", "image_id": 1, "height": 64, "width": 64, "annotations": annotations}
    DatasetCatalog.register(name, lambda: [image])
    MetadataCatalog.get(name).set(thing_classes=["ship", "car"], thing_dataset_id_to_contiguous_id=ids)
    found = Instances((64, 64), pred_boxes=Boxes(torch.tensor([[5.0, 5, 25, 25], [0, 0, 9, 9]])))
    found.scores, found.pred_classes = torch.tensor([0.9, 0.8]), torch.tensor([0, 1])
    try:
        metrics = feed(CocoEvaluator(name, tasks=("bbox",)), {1: found}).evaluate()["bbox"]
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    assert (metrics["AP-ship"], metrics["AP-car"]) == (100.0, 0.0)


def test_ids_may_be_text(data, changed):
    def name(content):
        for entry in content["images"] + content["categories"]:
            entry["id"] = f"no. {entry['id']:02}"
        for annotation in content["annotations"]:
            annotation.update((key, f"no. {annotation[key]:02}") for key in ("image_id", "category_id"))

    changed(name)
    found = feed(CocoEvaluator("test_changed"), {f"no. {i:02}": p for i, p in data[1].items()}).evaluate()
    assert found == feed(CocoEvaluator(NAME), data[1]).evaluate()


def test_a_set_of_some_classes_is_judged_by_them_alone(data):
    path, predictions = data
    register_coco("test_some_classes", path, path.parent, classes=["class90", "class4"])
    try:
        mine = {}
        for image_id, instances in predictions.items():
            instances = instances[instances.pred_classes != 1]
            instances = Instances(SIZE, **instances.get_fields())
            instances.pred_classes = torch.tensor([{0: 1, 2: 0}[c] for c in instances.pred_classes.tolist()])
            mine[image_id] = instances
        found = feed(CocoEvaluator("test_some_classes"), mine).evaluate()["segm"]
        whole = feed(CocoEvaluator(NAME), predictions).evaluate()["segm"]
        assert found["AP-class4"] == whole["AP-class4"] != found["AP-class90"] == whole["AP-class90"]
        assert found["AP"] == pytest.approx((found["AP-class4"] + found["AP-class90"]) / 2)
        assert "AP-class7" not in found
    finally:
        DatasetCatalog.remove("test_some_classes")
        MetadataCatalog.remove("test_some_classes")


def test_an_annotation_of_id_0_counts_as_any_other(data):
    path, predictions = data
    results = [
        {**r, "category_id": CATEGORIES[r["category_id"]]}
        for image_id, instances in predictions.items()
        for r in instances_to_coco(instances, image_id)
    ]
    content = json.loads(path.read_text())
    expected = average_precision(content, results, "bbox")
    for annotation in content["annotations"]:
        annotation["id"] -= 1
    assert average_precision(content, results, "bbox") == expected


def test_what_is_skipped_when_loading_is_no_ground_truth(data, tmp_path):
    path, predictions = data
    content = json.loads(path.read_text())
    cut = tmp_path / "cut.png"
    cut.write_bytes((path.parent / "1.png").read_bytes()[:60])
    for image_id, name in ((98, str(cut)), (99, "gone.png")):
        content["images"].append({"id": image_id, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        lost = [a for a in content["annotations"] if a["image_id"] == 1]
        content["annotations"] += [{**a, "id": a["id"] + 1000 * image_id, "image_id": image_id} for a in lost]
    content["annotations"].append({**content["annotations"][0], "id": 2000, "bbox": [900, 2, 9, 9]})
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(content))
    cfg = load_config("", ["DATASETS.BAD", "skip", "DATASETS.COCO", repr([["test_bad", str(bad), str(path.parent)]])])
    register_from_config(cfg)
    try:
        found = feed(CocoEvaluator("test_bad"), predictions).evaluate()
        assert found == feed(CocoEvaluator(NAME), predictions).evaluate()
    finally:
        register_from_config(load_config())
        DatasetCatalog.remove("test_bad")
        MetadataCatalog.remove("test_bad")


def _half(rank, predictions, folder):
    """One of two processes, which sees every other image."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    own = {k: v for i, (k, v) in enumerate(predictions.items()) if i % 2 == rank}
    metrics = feed(CocoEvaluator(NAME, folder / str(rank)), own).evaluate()
    assert bool(metrics) == (rank == 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_give_what_one_gives(data, tmp_path):
    _, predictions = data
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_half, args=(rank, predictions, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
    metrics = feed(CocoEvaluator(NAME), predictions).evaluate()
    written = json.loads((tmp_path / "0" / f"{NAME}_metrics.json").read_text())
    assert {task: written[task] for task in metrics} == dict(metrics)
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_dets": []}, "TEST.MAX_DETS"),
        ({"max_dets": [100, 10, 1]}, r"increasing integers from 1 to 2147483647, got \[100, 10, 1\]"),
        ({"area_profile": "dota"}, "expected one of coco, isaid, got 'dota'"),
        ({"tasks": ("keypoints",)}, "tasks: expected some of bbox, segm, boundary"),
        ({"boundary_ratio": 0}, r"boundary_ratio \(TEST.BOUNDARY_RATIO\): expected a number above 0, got 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CocoEvaluator(NAME, **arguments)
