"""Annotation runs: from boxes to a COCO file of masks, with a report and a review file."""

import contextlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from insight.data.formats.coco_writer import open_coco
from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.runtime.journal import Journal, settings_of
from insight.runtime.locks import output_folder
from insight.runtime.progress import Progress
from insight.runtime.words import counted

from .candidates import by_filters, read_candidates
from .contact_sheet import Extremes, draw_contact_sheet
from .filters import Filters
from .histograms import draw_histograms
from .report import Statistics, to_markdown
from .review import Review, changes_by_hand, open_review
from .segmentation import BLOCK, Segmenter, segment_source
from .sources import Source

MASKS, COCO, REVIEW = "masks.journal", "instances.json", "review.csv"


def annotate(source: Source, segmenter: Segmenter, filters: Filters, output: str | os.PathLike) -> Statistics:
    """Turn boxes into masks, and write those that pass the filters.

    Writes to `output`: masks.journal (all masks, from which a stopped run resumes and other filters can be applied),
    instances.json (COCO, the masks that are kept), review.csv, report.md, report.json and three pictures.

    Args:
        source: the boxes.
        segmenter: the model.
        filters: bounds on the masks to keep.
        output: the folder.

    Returns:
        Counts of the masks; `source.failures` has the images that could not be used.

    Raises:
        OSError: something cannot be written, or another process is writing in the folder.
        InputError: the folder holds masks of other settings, or manual decisions.
    """
    with output_folder(output) as output:
        return _annotate(source, segmenter, filters, output)


def check_decisions(output: str | os.PathLike) -> None:
    """Check, before a model is loaded, that `annotate` would overwrite no manual decisions.

    Args:
        output: the folder.

    Raises:
        InputError: its review.csv is malformed, or has manual decisions.
    """
    path = Path(output) / REVIEW
    changes = changes_by_hand(path)
    if changes:
        raise InputError(
            f"{path}: has {counted(changes, 'manual decision')}, which this run would overwrite; apply them as a "
            "review, or remove the file"
        )


def _annotate(source: Source, segmenter: Segmenter, filters: Filters, output: Path) -> Statistics:
    check_decisions(output)
    path, settings = output / MASKS, {**segmenter.settings, "block": BLOCK}
    found = settings_of(path)
    if found not in (None, settings) and any(Journal(path, found)):
        other = next(key for key in settings if found.get(key) != settings[key])
        name = "weights of sha256" if other == "weights" else other
        raise InputError(
            f"{path}: holds masks of another run, with {name} {found.get(other)} instead of {settings[other]}; choose "
            "another output folder, or remove it"
        )
    journal = Journal(path, settings)
    source.failures.update(segment_source(source, segmenter, journal))
    return _write(source, journal, settings, filters, output)


def apply_review(source: Source, review: Review, output: str | os.PathLike) -> Statistics:
    """Write the masks that a reviewer decided to keep, without segmenting again.

    Args:
        source: the boxes that were given to `annotate`.
        review: the decisions.
        output: the folder of `annotate`; the same files are written.

    Returns:
        Counts of the masks.

    Raises:
        OSError: something cannot be read or written, or another process is writing in the folder.
        InputError: there are no masks in the folder, or the review is of others; the old files stay.
    """
    path = Path(output) / MASKS
    settings = settings_of(path)
    if settings is None:
        raise InputError(f"review: {path} holds no masks to review; make masks first")
    with output_folder(output) as output:
        return _write(source, Journal(path, settings), settings, review, output)


def _write(source: Source, journal: Journal, settings: dict, decides: Filters | Review, output: Path) -> Statistics:
    filters, review = (decides, None) if isinstance(decides, Filters) else (None, decides)
    judge = review or by_filters(filters)
    bounds = None if filters is None else asdict(filters)
    info = {"description": "masks made from boxes by insight", "masks": settings, "filters": bounds or "by hand"}
    statistics, worst, best = Statistics(), Extremes(1), Extremes(-1)
    total = sum(image.count for image in source.images)
    category_ids = {category["name"]: category["id"] for category in source.categories}
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(Progress(total, "Writing", "mask"))
        coco = stack.enter_context(open_coco(output / COCO, source.categories, info))
        add_row = stack.enter_context(open_review(output / REVIEW))
        for image, size, candidates in read_candidates(source, journal, source.failures):
            coco.add_image({"id": image.id, "file_name": image.name, "height": size[0], "width": size[1]})
            for candidate in candidates:
                verdict = judge(candidate)
                if verdict.keep:
                    coco.add(candidate.to_annotation(category_ids[candidate.class_name]))
                add_row(candidate, verdict)
                statistics.add(candidate, verdict)
                (worst if verdict.keep else best).add(candidate, verdict)
                bar.update()
        if review is not None:
            review.check_all_were_asked()
    content = {"masks": settings, "filters": bounds, **statistics.to_json(), "failures": source.failures}
    with atomic_write(output / "report.json") as file:
        json.dump(content, file, indent=1)
    with atomic_write(output / "report.md") as file:
        file.write(to_markdown(statistics, settings, filters, source.failures))
    draw_histograms(statistics, filters, output / "histograms.png")
    draw_contact_sheet(worst.best(), output / "worst_kept.png")
    draw_contact_sheet(best.best(), output / "best_dropped.png")
    return statistics
