"""Masks for the boxes of a CVAT task, read and written through its SDK. Needs the extra `cvat`."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from insight.errors import InputError, InsightError, MissingDependencyError
from insight.inference.image_input import to_rgb
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.runtime.progress import Progress
from insight.structures.oriented_boxes import have_area

from .cvat_shapes import SHAPES, CVATBox, boxes_without_mask, group_of, grouped, mask_shapes

BLOCK = 64  # boxes whose masks are sent together: what a kill costs at most

# Why a box gets no mask.
REASONS = {
    "outside": "outside the image",
    "no_area": "without an area",
    "empty": "whose mask is empty",
    "changed": "changed or removed by someone meanwhile",
    "track": "tracks, which are left to CVAT",
}


@contextlib.contextmanager
def open_task(url: str, task_id: int, *, token: str | None = None, user: str = "", password: str = "") -> Iterator[Any]:
    """Log in, and open a task.

    Args:
        url: address of CVAT.
        task_id: number of the task.
        token: personal access token.
        user, password: instead of a token.

    Yields:
        The SDK's Task; within, what CVAT refuses is raised as an InsightError.

    Raises:
        MissingDependencyError: cvat-sdk is not installed.
        InsightError: CVAT does not answer, or refuses.
    """
    try:
        from cvat_sdk.core.client import AccessTokenCredentials, Client, PasswordCredentials
        from cvat_sdk.exceptions import ApiException
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "cvat: cvat-sdk is not installed; run `pip install 'insight-seg[cvat]'`"
        ) from error
    with _sentences(url, task_id), Client(url) as client:
        try:
            client.login(PasswordCredentials(user, password) if token is None else AccessTokenCredentials(token))
        except ApiException as error:
            if error.status != 400:
                raise
            raise InputError(f"user: {url} does not accept this name and password") from error
        try:
            task = client.tasks.retrieve(task_id)
        except ApiException as error:
            if error.status != 404:
                raise
            raise InputError(f"task: {url} has no task {task_id} that this user sees") from error
        yield task
        client.logout()


def annotate_task(
    task: Any, predictor: SOPSegPredictor, *, shape: str = "mask", classes: Sequence[str] | None = None
) -> Counter[str]:
    """Give each rectangle of a task that has none a mask, in the rectangle's group.

    Boxes that have a mask already are left alone, so a stopped run is started again; a mask that is removed in CVAT is
    made again. Boxes that someone changes while their masks are computed are left for the next run.

    Args:
        task: the SDK's Task.
        predictor: the model.
        shape: "mask" or "polygon".
        classes: names of the labels to use; None: all.

    Returns:
        Numbers of boxes: "made", "done" (before), and the keys of `REASONS`.

    Raises:
        InputError: an unknown label, one that does not take this shape, a task without pictures, or a picture of
            another size than CVAT says.
    """
    if shape not in SHAPES:
        raise InputError(f"shape: expected {' or '.join(SHAPES)}, got {shape!r}")
    if getattr(task, "dimension", "2d") != "2d":
        raise InputError(f"task: expected one of pictures, but {task.id} is of point clouds")
    labels = _labels(task, classes)
    jobs = [job for job in task.get_jobs() if job.type == "annotation"]
    before = [job.get_annotations() for job in jobs]
    todo = [boxes_without_mask(data.shapes, labels) for data in before]
    _check_labels([box for boxes in todo for box in boxes], labels, shape)
    counts: Counter[str] = Counter()
    for data, boxes in zip(before, todo):
        wanted = [one for one in data.shapes if one.type.value == "rectangle" and one.label_id in labels]
        counts["done"] += len(wanted) - len(boxes)
        counts["track"] += sum(track.label_id in labels and _is_box(track) for track in data.tracks)
    groups = itertools.count(1 + max((group for data in before for group in _groups(data)), default=0))
    del before
    meta = task.get_meta()
    with Progress(sum(map(len, todo)), "Segmenting", "box") as bar:
        for job, boxes in zip(jobs, todo):
            waiting: list[tuple[CVATBox, dict[str, Any], float]] = []
            for frame, members in itertools.groupby(sorted(boxes, key=lambda box: box.shape.frame), _frame):
                if frame in meta.deleted_frames:
                    continue
                of_frame = list(members)
                waiting += _segment(of_frame, _picture(task, meta, frame), predictor, counts)
                if len(waiting) >= BLOCK:
                    _send(job, waiting, labels, shape, groups, counts)
                    waiting = []
                bar.update(len(of_frame))
            if waiting:
                _send(job, waiting, labels, shape, groups, counts)
    return +counts


def _segment(
    boxes: list[CVATBox], pixels: np.ndarray, predictor: SOPSegPredictor, counts: Counter[str]
) -> list[tuple[CVATBox, dict[str, Any], float]]:
    """The masks of the boxes of one picture, but for those that are empty or cannot be asked."""
    height, width = pixels.shape[:2]
    usable: list[CVATBox] = []
    with_area = have_area(torch.tensor(np.stack([box.corners for box in boxes]), dtype=torch.float32)).tolist()
    for box, has_area in zip(boxes, with_area):
        (x1, y1), (x2, y2) = box.corners.min(0), box.corners.max(0)
        if not has_area:
            counts["no_area"] += 1
        elif x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            counts["outside"] += 1
        else:
            usable.append(box)
    usable.sort(key=lambda box: box.rotated)  # as they are answered
    if not usable:
        return []
    horizontal = [[*box.corners.min(0), *box.corners.max(0)] for box in usable if not box.rotated]
    rotated = [box.corners for box in usable if box.rotated]
    predictor.set_image(pixels)
    found = predictor.predict(
        boxes=np.array(horizontal) if horizontal else None, oriented_boxes=np.stack(rotated) if rotated else None
    )
    assert found.masks is not None
    return list(zip(usable, found.masks, found.scores.tolist()))


def _send(job: Any, answers: list, labels: dict[int, Any], shape: str, groups: Iterator[int], counts: Counter) -> None:
    """Write masks. A box gets its group first, so that a kill between the two requests leaves it to be done."""
    from cvat_sdk import models
    from cvat_sdk.core.proxies.annotations import AnnotationUpdateAction

    now = {box.place: box.shape for box in boxes_without_mask(job.get_annotations().shapes, labels)}
    regrouped, made = [], []
    for box, code, score in answers:
        current = now.get(box.place)
        if current is None:
            counts["changed"] += 1
            continue
        group = group_of(current) or next(groups)
        shapes = mask_shapes(code, score, current, group, shape)
        if not shapes:
            counts["empty"] += 1
            continue
        if not group_of(current):
            regrouped.append(grouped(current, group))
        made += shapes
        counts["made"] += 1
    for shapes, action in ((regrouped, AnnotationUpdateAction.UPDATE), (made, AnnotationUpdateAction.CREATE)):
        if shapes:
            data = models.PatchedLabeledDataRequest(version=0, tags=[], tracks=[], shapes=shapes)
            job.update_annotations(data, action=action)


def _picture(task: Any, meta: Any, frame: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    try:
        with Image.open(task.get_frame(frame, quality="original")) as image:
            pixels = to_rgb(image)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"task {task.id}, frame {frame}: expected a picture that Pillow reads ({error})") from error
    frames = meta.frames or []
    about = frames[frame] if frame < len(frames) else frames[0]  # a video has one entry
    if pixels.shape[:2] != (about.height, about.width):
        height, width = pixels.shape[:2]
        raise InputError(
            f"task {task.id}, frame {frame}: is {width} x {height} pixels, CVAT says {about.width} x {about.height}"
        )
    return pixels


def _labels(task: Any, classes: Sequence[str] | None) -> dict[int, Any]:
    """The labels to use, by id."""
    labels = {label.id: label for label in task.get_labels()}
    if classes is None:
        return labels
    names = [label.name for label in labels.values()]
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise InputError(f"classes: the task has no label {unknown[0]!r}; it has {', '.join(names)}")
    return {key: label for key, label in labels.items() if label.name in classes}


def _check_labels(boxes: list[CVATBox], labels: dict[int, Any], shape: str) -> None:
    for label in (labels[key] for key in dict.fromkeys(box.shape.label_id for box in boxes)):
        takes = str(getattr(label, "type", "any"))
        if takes not in ("any", shape):
            raise InputError(
                f"shape: the label {label.name!r} takes shapes of type {takes} alone, not {shape}; choose another "
                "shape, leave the label out by classes, or make its type any in CVAT"
            )


def _groups(data: Any) -> Iterator[int]:
    return map(group_of, itertools.chain(data.shapes, data.tracks, data.tags))


def _is_box(track: Any) -> bool:
    return any(one.type.value == "rectangle" for one in track.shapes)


def _frame(box: CVATBox) -> int:
    return box.shape.frame


@contextlib.contextmanager
def _sentences(url: str, task_id: int) -> Iterator[None]:
    """Raise what CVAT answers, or that it does not, as one sentence."""
    from cvat_sdk.core.exceptions import CvatSdkException
    from cvat_sdk.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        why = {
            401: "does not accept the token",
            403: f"does not let this user change task {task_id}",
        }.get(error.status, f"answered {error.status} {error.reason or ''}".rstrip())
        raise InsightError(f"url: {url} {why}") from error
    except CvatSdkException as error:
        raise InputError(f"url: expected the address of CVAT, such as https://app.cvat.ai ({error})") from error
    except HTTPError as error:
        raise InsightError(f"url: {url} does not answer; is CVAT running there?") from error
