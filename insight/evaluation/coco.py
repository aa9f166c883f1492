"""COCO average precision with faster-coco-eval, with the area ranges and detection limits of COCO or iSAID."""

import json
import logging
import math
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.coco import convert_to_coco_dict
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm
from faster_coco_eval import COCO, COCOeval_faster
from tabulate import tabulate

from insight.data.formats.coco import only_images, read_coco
from insight.data.formats.file_check import FileCheck
from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.runtime.file_names import safe_name
from insight.runtime.json_values import plain
from insight.runtime.words import counted
from insight.structures.rle import masks_to_rle, rle_area, segmentation_to_rle

from .boundary import is_all_boundary
from .overlaps import ImageToCompare, measure_overlaps

_ALL = 1e5**2
AREA_PROFILES = {
    # name: areas in square pixels, from (inclusive) and to (inclusive)
    "coco": {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, _ALL)},
    # The iSAID development kit's cocoeval.py.
    "isaid": {"small": (10**2, 144**2), "medium": (144**2, 512**2), "large": (512**2, _ALL)},
}
TASKS = ("bbox", "segm", "boundary")
BOUNDARY_AP_RATIO = 0.02  # Cheng et al. 2021
COCO_MAX_DETS = 100
_COUNTED = ("image_id", "category_id", "score")
LARGEST_MAX_DETS = 2**31 - 1  # faster-coco-eval counts in 32 bits

_logger = logging.getLogger(__name__)


class CocoEvaluator(DatasetEvaluator):
    """Average precision of boxes and masks.

    The task "boundary" is Boundary AP (Cheng et al. 2021): as "segm", but the IoU of two masks is the smaller of their
    IoU and their boundary IoU. Works in one process or in several, each with a part of the images. Predictions
    are Detectron2 instances, with pred_masks as (N, H, W) bool or a sequence of COCO RLE.

    Args:
        dataset_name: registered dataset; the ground truth is its json_file, or its dataset dicts if it has none.
        output_dir: folder for DATASET_results.json (COCO detections) and DATASET_metrics.json; None to write nothing.
        max_dets: limits of detections per image and class, increasing; AP uses the last one. COCO uses (1, 10, 100),
            iSAID (1, 10, 1000).
        area_profile: "coco" or "isaid", see AREA_PROFILES.
        tasks: some of "bbox", "segm" and "boundary"; tasks of masks are left out if the ground truth (see
            `possible_tasks`) or the predictions have no masks.
        boundary_ratio: width of a boundary as a fraction of the image's diagonal, for "boundary".

    Attributes:
        image_ids: the images to evaluate on; None for all of the dataset.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | Path | None = None,
        max_dets: Sequence[int] = (1, 10, 100),
        area_profile: str = "coco",
        tasks: Sequence[str] = ("bbox", "segm"),
        boundary_ratio: float = BOUNDARY_AP_RATIO,
    ):
        max_dets = [int(m) for m in max_dets]
        if (
            not max_dets
            or max_dets != sorted(set(max_dets))
            or not 1 <= max_dets[0] <= max_dets[-1] <= LARGEST_MAX_DETS
        ):
            raise InputError(
                f"max_dets (TEST.MAX_DETS): expected increasing integers from 1 to {LARGEST_MAX_DETS}, got {max_dets}"
            )
        if area_profile not in AREA_PROFILES:
            known = ", ".join(AREA_PROFILES)
            raise InputError(f"area_profile (TEST.AREA_PROFILE): expected one of {known}, got {area_profile!r}")
        if not tasks or not set(tasks) <= set(TASKS):
            raise InputError(f"tasks: expected some of {', '.join(TASKS)}, got {tuple(tasks)}")
        if not boundary_ratio > 0:
            raise InputError(f"boundary_ratio (TEST.BOUNDARY_RATIO): expected a number above 0, got {boundary_ratio}")
        self.dataset_name = dataset_name
        self.boundary_ratio = boundary_ratio
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.max_dets, self.area_profile, self.tasks = max_dets, area_profile, tuple(tasks)
        self.image_ids: Collection | None = None
        self._results: list[dict] = []

    def reset(self) -> None:
        """Clear all predictions."""
        self._results = []

    def process(self, inputs: Iterable[dict], outputs: Iterable[dict]) -> None:
        """Add the predictions of a batch.

        Args:
            inputs: with "image_id".
            outputs: with "instances" at the size of the original image.
        """
        for given, output in zip(inputs, outputs):
            self._results += instances_to_coco(output["instances"].to("cpu"), given["image_id"])

    def evaluate(self) -> OrderedDict:
        """Compute the metrics, in the main process.

        Returns:
            {"bbox": {"AP", "AP50", "AP75", "APs", "APm", "APl", "AP-CLASS" ...}, "segm": ..., "boundary": ...} for the
            tasks, in percent, NaN where there is no ground truth; empty in processes other than the main one.

        Raises:
            InputError: see `possible_tasks`, or only masks are evaluated and no prediction has one.
        """
        gathered = comm.gather(self._results, dst=0)
        if not comm.is_main_process():
            return OrderedDict()
        results = [r for part in gathered for r in part]
        truth, names, ids = self._ground_truth()
        tasks = possible_tasks(self.tasks, [truth], self.dataset_name)
        if results and not any("segmentation" in r for r in results):
            tasks = _of_boxes(tasks, f"{self.dataset_name}: no prediction has a mask")
        results = [{**r, "category_id": ids[r["category_id"]]} for r in results]
        by_id = [name for _, name in sorted(zip(ids, names))]
        if not results:
            _logger.warning(f"{self.dataset_name}: there are no predictions")
        metrics = OrderedDict(
            (
                task,
                average_precision(
                    truth, results, task, self.max_dets, self.area_profile, by_id, boundary_ratio=self.boundary_ratio
                ),
            )
            for task in tasks
        )
        narrow = _all_boundary(truth, self.boundary_ratio) if "boundary" in metrics else 0
        _logger.info(self._report(metrics, narrow))
        if self.output_dir is not None:
            with atomic_write(self.output_dir / safe_name(self.dataset_name, "_results.json")) as file:
                json.dump(results, file)
            settings = {"max_dets": self.max_dets, "area_profile": self.area_profile}
            if "boundary" in metrics:
                settings |= {"boundary_ratio": self.boundary_ratio, "all_boundary_instances": narrow}
            with atomic_write(self.output_dir / safe_name(self.dataset_name, "_metrics.json")) as file:
                json.dump(plain({**settings, **metrics}), file, indent=2)
        return metrics

    def _ground_truth(self) -> tuple[dict, list[str], list[int]]:
        """The COCO dictionary, the class names and the category id of each class."""
        loaded = {d["image_id"] for d in DatasetCatalog.get(self.dataset_name)}
        loaded = loaded if self.image_ids is None else loaded & set(self.image_ids)
        metadata = MetadataCatalog.get(self.dataset_name)
        names = list(metadata.thing_classes)
        if metadata.get("json_file") is None:
            content = only_images(convert_to_coco_dict(self.dataset_name), loaded)
            return content, names, [c["id"] for c in content["categories"]]
        path = Path(metadata.json_file)
        # Only what the dataset holds: some of the file's classes, and nothing that was left out when it was loaded;
        # images that cannot be decoded are found only then.
        content = read_coco(path, metadata.get("image_root"), names, FileCheck(path, strict=False))
        content = only_images(content, loaded)
        return content, names, [c["id"] for c in content["categories"]]

    def _report(self, metrics: dict, narrow: int) -> str:
        ranges = ", ".join(
            f"{name} {math.isqrt(int(low))}^2 to {'any' if high == _ALL else f'{math.isqrt(int(high))}^2'}"
            for name, (low, high) in AREA_PROFILES[self.area_profile].items()
        )
        keys = ("AP", "AP50", "AP75", "APs", "APm", "APl")
        keys += tuple(key for key in next(iter(metrics.values())) if key.startswith("AP@"))
        rows = [(task, *(values[k] for k in keys)) for task, values in metrics.items()]
        lines = [
            f"Average precision on {self.dataset_name}, in percent",
            f"at most {self.max_dets[-1]} detections per image and class; areas ({self.area_profile}): {ranges}",
            tabulate(rows, ("", *keys), "simple", floatfmt=".2f"),
        ]
        if "boundary" in metrics:
            width = f"ratio {self.boundary_ratio:g} of the image's diagonal"
            lines.insert(2, f"boundary: {width}, more than half the short side of {counted(narrow, 'instance')}")
        classes = [key for key in next(iter(metrics.values())) if key.startswith("AP-")]
        if classes:
            rows = [(key[3:], *(values[key] for values in metrics.values())) for key in classes]
            lines += ["", tabulate(rows, ("class", *(f"{task} AP" for task in metrics)), "simple", floatfmt=".2f")]
        return "\n".join(lines)


def _all_boundary(truth: dict, ratio: float) -> int:
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    return sum(
        is_all_boundary(segmentation_to_rle(a["segmentation"], sizes[a["image_id"]]), ratio)
        for a in truth["annotations"]
        if not a.get("iscrowd", 0) and a.get("segmentation")
    )


def possible_tasks(tasks: Sequence[str], truth: Iterable[dict], dataset_name: str) -> tuple[str, ...]:
    """Select the tasks that the ground truth allows: only boxes, with a warning, if no annotation has a mask.

    Args:
        tasks: some of TASKS.
        truth: dataset dicts, or a list of one COCO dictionary.
        dataset_name: name of the dataset.

    Returns:
        The tasks, in the given order.

    Raises:
        InputError: no task is left.
    """
    if any(a.get("segmentation") for part in truth for a in part["annotations"]):
        return tuple(tasks)
    return _of_boxes(tasks, f"{dataset_name}: no annotation has a mask")


def _of_boxes(tasks: Sequence[str], reason: str) -> tuple[str, ...]:
    left = tuple(task for task in tasks if task == "bbox")
    if not left:
        raise InputError(f"{reason} to compare; both the dataset and the model need masks")
    if len(left) < len(tasks):
        _logger.warning(f"{reason}: only boxes are evaluated")
    return left


def require_masks(dataset_name: str) -> None:
    """Check that a dataset has masks to compare with.

    Args:
        dataset_name: registered dataset; it is loaded.

    Raises:
        InputError: no annotation has a mask, or the dataset cannot be loaded.
    """
    possible_tasks(("segm",), DatasetCatalog.get(dataset_name), dataset_name)


def instances_to_coco(instances: Instances, image_id: int) -> list[dict]:
    """Convert the predictions of one image to COCO detections.

    Args:
        instances: on the CPU, with pred_boxes, scores, pred_classes and perhaps pred_masks.
        image_id: id of the image.

    Returns:
        Dicts with image_id, category_id (the class index), bbox (XYWH), score and perhaps segmentation (RLE, ASCII).
    """
    boxes = instances.pred_boxes.tensor.clone()
    boxes[:, 2:] -= boxes[:, :2]
    columns = zip(boxes.tolist(), instances.scores.tolist(), instances.pred_classes.tolist())
    results = [{"image_id": image_id, "category_id": c, "bbox": b, "score": s} for b, s, c in columns]
    if instances.has("pred_masks"):
        for result, code in zip(results, masks_to_rle(instances.pred_masks)):
            result["segmentation"] = code
    return results


def average_precision(
    truth: dict,
    results: list[dict],
    task: str,
    max_dets: Sequence[int] = (1, 10, 100),
    area_profile: str = "coco",
    class_names: Sequence[str] = (),
    boundary_ratio: float = BOUNDARY_AP_RATIO,
) -> dict[str, float]:
    """Compute the COCO average precision of detections.

    Args:
        truth: COCO dictionary.
        results: COCO detections; may be empty.
        task: "bbox", "segm" or "boundary". For the latter two the area of a detection is the area of its mask.
        max_dets: limits of detections per image and class, increasing; AP uses the last one.
        area_profile: see AREA_PROFILES.
        class_names: names of the categories by increasing id; with more than one, the AP of each is added.
        boundary_ratio: width of a boundary as a fraction of the image's diagonal, for "boundary".

    Returns:
        AP, AP50, AP75, APs, APm, APl, AP@LIMIT of each other limit from 100 on, and AP-CLASS, in percent; NaN where
        there is no ground truth.
    """
    whole = precision_table(truth, results, task, max_dets, area_profile, boundary_ratio)
    precision = whole[..., -1]
    thresholds = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
    metrics = {name: _mean(precision[which, :, :, 0]) for name, which in thresholds.items()}
    for i, name in enumerate(AREA_PROFILES[area_profile], start=1):
        metrics[f"AP{name[0]}"] = _mean(precision[:, :, :, i])
    for i, limit in enumerate(max_dets[:-1]):
        if limit >= COCO_MAX_DETS:  # beside the AP of a higher limit, COCO's own
            metrics[f"AP@{limit}"] = _mean(whole[:, :, :, 0, i])
    if len(class_names) > 1:
        metrics.update((f"AP-{name}", _mean(precision[:, :, k, 0])) for k, name in enumerate(class_names))
    return metrics


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]
    return float(known.mean() * 100) if known.size else float("nan")


def precision_table(
    truth: dict,
    results: list[dict],
    task: str,
    max_dets: Sequence[int] = (1, 10, 100),
    area_profile: str = "coco",
    boundary_ratio: float = BOUNDARY_AP_RATIO,
) -> np.ndarray:
    """Compute the precisions whose means are COCO's metrics.

    Args:
        truth, results, task, max_dets, area_profile, boundary_ratio: as in `average_precision`.

    Returns:
        (T, R, K, A, M) float64, -1 where there is no ground truth: by IoU threshold (0.50, 0.55 ... 0.95), recall (0,
        0.01 ... 1), category by increasing id, area range (all, small, medium, large), detection limit.
    """
    truth, results = _numbered(truth, results)
    images = _by_image(truth, results, max_dets[-1])
    overlaps = measure_overlaps(images, task, boundary_ratio)
    found = [
        {**{key: d[key] for key in _COUNTED}, "iscrowd": 0, "area": area}
        for image, overlap in zip(images, overlaps)
        for d, area in zip(image.detections, overlap.areas)
    ]
    sections = {section: truth[section] for section in ("images", "categories")}
    evaluation = _EvaluationOfIoUs(
        COCO({**sections, "annotations": _countable(truth)}),
        COCO({**sections, "annotations": [{"id": number, **d} for number, d in enumerate(found, 1)]}),
        "bbox",
        {name: list(limits) for name, limits in AREA_PROFILES[area_profile].items()},
        lambda *_: None,
    )
    evaluation.given = {
        (image["id"], category): ious
        for image, overlap in zip(truth["images"], overlaps)
        for category, ious in overlap.ious.items()
    }
    evaluation.params.maxDets = list(max_dets)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"]


class _EvaluationOfIoUs(COCOeval_faster):
    """Matches and counts by given IoUs, {(image, category): (D, G)}, whatever they are of."""

    given: dict[tuple[int, int], np.ndarray]

    def computeIoU(self, imgId: int, catId: int) -> np.ndarray:
        return self.given[imgId, catId]


def _by_image(truth: dict, results: list[dict], limit: int) -> list[ImageToCompare]:
    """Each image's annotations and, of each category, its `limit` best detections, by falling score."""
    annotations: dict[int, list[dict]] = defaultdict(list)
    detections: dict[int, list[dict]] = defaultdict(list)
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for annotation in truth["annotations"]:
        annotations[annotation["image_id"]].append(annotation)
    for result in sorted(results, key=lambda r: -r["score"]):
        key = result["image_id"], result["category_id"]
        counts[key] += 1
        if counts[key] <= limit:
            detections[result["image_id"]].append(result)
    return [
        ImageToCompare((image["height"], image["width"]), annotations[image["id"]], detections[image["id"]])
        for image in truth["images"]
    ]


def _numbered(truth: dict, results: list[dict]) -> tuple[dict, list[dict]]:
    """Both with images and categories numbered from 1, in order of their ids: COCO's code accepts no strings as ids."""
    numbers = {}
    for section, key in (("images", "image_id"), ("categories", "category_id")):
        numbers[key] = {number: i for i, number in enumerate(sorted(entry["id"] for entry in truth[section]), 1)}
        truth = {**truth, section: [{**entry, "id": numbers[key][entry["id"]]} for entry in truth[section]]}

    def renumbered(entries: list[dict]) -> list[dict]:
        return [{**entry, **{key: known[entry[key]] for key, known in numbers.items()}} for entry in entries]

    return {**truth, "annotations": renumbered(truth["annotations"])}, renumbered(results)


def _countable(truth: dict) -> list[dict]:
    """What COCO's code counts of each annotation, numbered from 1.

    To it, an instance of id 0 that a detection has found is one that none has found.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    countable = []
    for number, annotation in enumerate(truth["annotations"], 1):
        area = annotation.get("area")
        countable.append(
            {
                "id": number,
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "iscrowd": annotation.get("iscrowd", 0),
                "area": _area(annotation, sizes[annotation["image_id"]]) if area is None else area,
            }
        )
    return countable


def _area(annotation: dict, size: tuple[int, int]) -> float:
    mask = annotation.get("segmentation")
    if not mask:
        return annotation["bbox"][2] * annotation["bbox"][3]
    return float(rle_area(segmentation_to_rle(mask, size)))
