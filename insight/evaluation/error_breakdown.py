"""Why AP is lost: the cause of each false positive and missed instance, and the AP that each cause costs.

Source: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from insight.runtime.progress import progress
from insight.structures.rle import segmentation_to_rle

FOREGROUND, BACKGROUND = 0.5, 0.1  # IoU at or above which a detection is correct, and below which it is background
CAUSES = ("classification", "localisation", "both", "duplicate", "background", "missed")
ALL_FALSE_POSITIVES, ALL_FALSE_NEGATIVES = "all false positives", "all false negatives"
_CORRECT = "correct"


@dataclass(frozen=True)
class ErrorBreakdown:
    """Errors and their cost, by class.

    Attributes:
        class_names: K names, in order of category id.
        instances: (K,) instances in the ground truth, without crowds.
        ap: (K,) AP at IoU 0.5 in percent; NaN without instances.
        counts: by cause, (K,) errors; a false positive counts for its own class, a miss for the class of the instance.
        fixed: by cause, and for ALL_FALSE_POSITIVES and ALL_FALSE_NEGATIVES, (K,) `ap` without these errors alone;
            NaN where no instance would remain.
    """

    class_names: list[str]
    instances: np.ndarray
    ap: np.ndarray
    counts: dict[str, np.ndarray]
    fixed: dict[str, np.ndarray]

    def gain(self, cause: str) -> float:
        """Return the gain in mean AP if a cause is fixed, percentage points."""
        return mean_of_known(self.fixed[cause]) - mean_of_known(self.ap)


def mean_of_known(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def error_breakdown(truth: dict, detections: list[dict], task: str, max_dets: int = 100) -> ErrorBreakdown:
    """Assign a cause to each error, and a cost in AP to each cause.

    Detections are matched as COCO does, at IoU 0.5: by descending score, each takes the free instance of its class that
    it overlaps most. Detections inside a crowd of their class do not count. For every other detection, let s be the
    highest IoU with an instance of its class, taken or not, and o the highest IoU with an instance of another class;
    the first condition that holds is the cause:

    - localisation: 0.1 <= s < 0.5;
    - classification: o >= 0.5;
    - duplicate: s >= 0.5, so a detection of higher score has taken the instance;
    - background: s < 0.1 and o <= 0.1;
    - both (wrong class and location): otherwise, 0.1 < o < 0.5.

    An instance is missed if no detection takes it and no localisation or classification error, if fixed, would find it.

    AP is computed with each cause fixed by itself. Localisation (or classification) errors: for each free instance, the
    error of highest score becomes correct, with the instance's class; the others are removed. Duplicate, background and
    both: removed. Missed instances are removed from the ground truth. "All false positives" removes all of them, "all
    false negatives" removes every instance that is not taken.

    Args:
        truth: COCO dictionary; for "segm" each annotation has a segmentation.
        detections: COCO detections with bbox or, for "segm", with segmentation as RLE.
        task: "bbox" or "segm".
        max_dets: detections per image and class that count.

    Returns:
        The breakdown; its `ap` is COCO's AP50.
    """
    examined = _examine(truth, detections, task, max_dets)
    names = [c["name"] for c in sorted(truth["categories"], key=lambda c: c["id"])]
    false = examined.causes != _CORRECT
    missed = ~examined.taken & ~examined.mendable
    counts = {cause: np.bincount(examined.classes[examined.causes == cause], minlength=len(names)) for cause in CAUSES}
    counts["missed"] = np.bincount(examined.truth[missed], minlength=len(names))
    fixed = {cause: examined.without(examined.causes == cause) for cause in ("both", "duplicate", "background")}
    fixed |= {cause: examined.mended(cause) for cause in ("classification", "localisation")}
    fixed["missed"] = examined.ap(instances=~missed)
    fixed = {cause: fixed[cause] for cause in CAUSES}
    fixed[ALL_FALSE_POSITIVES] = examined.without(false)
    fixed[ALL_FALSE_NEGATIVES] = examined.ap(instances=examined.taken)
    return ErrorBreakdown(names, np.bincount(examined.truth, minlength=len(names)), examined.ap(), counts, fixed)


@dataclass(frozen=True)
class _Examined:
    """D detections that count, by image id and then falling score, and G instances."""

    num_classes: int
    scores: np.ndarray  # (D,)
    classes: np.ndarray  # (D,) class index
    causes: np.ndarray  # (D,) str
    targets: np.ndarray  # (D,) of localisation and classification errors, the instance; else -1
    truth: np.ndarray  # (G,) class index
    taken: np.ndarray  # (G,) bool

    @property
    def mendable(self) -> np.ndarray:
        """(G,) bool: free instances that a localisation or classification error is about."""
        mendable = np.zeros(len(self.truth), bool)
        mendable[self.targets[self.targets >= 0]] = True
        return mendable & ~self.taken

    def ap(self, keep=slice(None), classes=None, right=None, instances=slice(None)) -> np.ndarray:
        """Compute AP in percent, (K,), for a selection of detections and instances, with changed classes or hits."""
        classes = self.classes if classes is None else classes
        right = self.causes == _CORRECT if right is None else right
        scores, classes, right = self.scores[keep], classes[keep], right[keep]
        totals = np.bincount(self.truth[instances], minlength=self.num_classes)
        return np.array([_ap(scores[classes == k], right[classes == k], total) for k, total in enumerate(totals)])

    def without(self, errors: np.ndarray) -> np.ndarray:
        """Compute AP, (K,), without some detections."""
        return self.ap(keep=~errors)

    def mended(self, cause: str) -> np.ndarray:
        """Compute AP, (K,), with the errors of a cause corrected, one per instance, and the rest removed."""
        errors = np.flatnonzero(self.causes == cause)
        errors = errors[np.argsort(-self.scores[errors], kind="stable")]
        errors = errors[~self.taken[self.targets[errors]]]
        mended = errors[np.unique(self.targets[errors], return_index=True)[1]]
        right, classes = self.causes == _CORRECT, self.classes.copy()
        right[mended], classes[mended] = True, self.truth[self.targets[mended]]
        return self.ap(right | (self.causes != cause), classes, right)


def _ap(scores: np.ndarray, right: np.ndarray, instances: int) -> float:
    """COCO's AP of one class in percent: the mean over 101 recalls of the highest precision at this recall or more."""
    if instances == 0:
        return float("nan")
    hits = np.cumsum(right[np.argsort(-scores, kind="stable")])
    precision = hits / np.arange(1, len(hits) + 1)
    highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return 100 * float(highest[np.searchsorted(hits / instances, np.linspace(0, 1, 101))].mean())


def _examine(truth: dict, detections: list[dict], task: str, max_dets: int) -> _Examined:
    index = {category: k for k, category in enumerate(sorted(c["id"] for c in truth["categories"]))}
    objects, found = defaultdict(list), defaultdict(list)
    for annotation in truth["annotations"]:
        objects[annotation["image_id"]].append(annotation)
    for detection in detections:
        found[detection["image_id"]].append(detection)
    scores, classes, causes, targets, labels, taken = [], [], [], [], [], []
    for image in progress(sorted(truth["images"], key=lambda image: image["id"]), f"Errors of {task}", "image"):
        own = objects[image["id"]]
        crowds = [a for a in own if a.get("iscrowd", 0)]
        own = [a for a in own if not a.get("iscrowd", 0)]
        best = _highest_scores(found[image["id"]], max_dets)
        label = np.array([index[a["category_id"]] for a in own], int)
        kind = np.array([index[d["category_id"]] for d in best], int)
        size = (image["height"], image["width"])
        iou = _iou(best, own, task, size)
        in_crowd = _iou(best, crowds, task, size, crowd=True)
        in_crowd *= kind[:, None] == np.array([index[a["category_id"]] for a in crowds], int)
        taker = _match(np.where(kind[:, None] == label, iou, 0.0))
        hit = np.zeros(len(best), bool)
        hit[taker[taker >= 0]] = True
        counted = hit | ~(in_crowd >= FOREGROUND).any(axis=1)
        for d in np.flatnonzero(counted):
            cause, target = (_CORRECT, -1) if hit[d] else _cause(iou[d], label == kind[d])
            causes.append(cause)
            targets.append(target if target < 0 else len(labels) + target)
            scores.append(best[d]["score"])
            classes.append(kind[d])
        labels += label.tolist()
        taken += (taker >= 0).tolist()
    return _Examined(
        len(index),
        np.array(scores, float),
        np.array(classes, int),
        np.array(causes, str),
        np.array(targets, int),
        np.array(labels, int),
        np.array(taken, bool),
    )


def _highest_scores(detections: list[dict], max_dets: int) -> list[dict]:
    """By falling score, at most so many of each category."""
    kept, count = [], defaultdict(int)
    for detection in sorted(detections, key=lambda d: -d["score"]):
        count[detection["category_id"]] += 1
        if count[detection["category_id"]] <= max_dets:
            kept.append(detection)
    return kept


def _iou(detections: list[dict], annotations: list[dict], task: str, size: tuple[int, int], crowd: bool = False):
    """(D, G) IoU; with crowds, the part of the detection that is inside."""
    if not detections or not annotations:
        return np.zeros((len(detections), len(annotations)))
    if task == "bbox":
        one, other = ([entry["bbox"] for entry in entries] for entries in (detections, annotations))
    else:
        one, other = (
            [segmentation_to_rle(entry["segmentation"], size) for entry in entries]
            for entries in (detections, annotations)
        )
    return np.asarray(coco_mask.iou(one, other, [int(crowd)] * len(annotations)), float)


def _match(iou: np.ndarray) -> np.ndarray:
    """Which detection takes each instance.

    Args:
        iou: (D, G), 0 for other classes; detections by falling score.

    Returns:
        (G,) index of the detection, -1 where none takes the instance.
    """
    taker = np.full(iou.shape[1], -1)
    if not iou.size:
        return taker
    for d, row in enumerate(iou):
        free = np.where(taker < 0, row, 0)
        last_of_best = len(free) - 1 - free[::-1].argmax()  # of equals COCO takes the last
        if free[last_of_best] >= FOREGROUND:
            taker[last_of_best] = d
    return taker


def _cause(iou: np.ndarray, same: np.ndarray) -> tuple[str, int]:
    """The cause of a false positive, and the instance that would be right, or -1.

    Args:
        iou: (G,) with the instances of its image.
        same: (G,) bool, instances of its class.
    """
    own, other = np.where(same, iou, 0), np.where(same, 0, iou)
    s, o = own.max(initial=0), other.max(initial=0)
    if BACKGROUND <= s < FOREGROUND:
        return "localisation", int(own.argmax())
    if o >= FOREGROUND:
        return "classification", int(other.argmax())
    if s >= FOREGROUND:
        return "duplicate", -1
    return ("both" if o > BACKGROUND else "background"), -1
