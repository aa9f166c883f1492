"""Build a COCO file from many sources. A killed run resumes where it stopped; a second run does nothing."""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from insight.data.formats.coco_writer import open_coco
from insight.data.formats.file_check import FileCheck, first
from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.runtime.json_values import parse_json
from insight.runtime.locks import locked
from insight.runtime.processes import map_in_processes

_UNUSABLE = "unusable images"  # the reason under which skipped sources are counted
_PATIENCE = 5.0  # seconds that the processes of a killed run, which hold its lock too, have to end

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One image and its label files.

    Args:
        name: unique name: a file name without its suffix, optionally with folders.
        files: the files that the result depends on.
    """

    name: str
    files: tuple[Path, ...]


def build_coco(
    output: Path,
    image_root: Path,
    sources: Sequence[Source],
    convert: Callable[[Source], dict],
    classes: Sequence[str],
    *,
    settings: dict,
    skip_bad: bool = False,
) -> dict[str, int]:
    """Convert sources in several processes and join the results in one COCO file.

    The result of each source is kept beside `output`, in a folder `.NAME.parts`, until the file is complete. Image and
    annotation ids count from 1 in order of the sources, so that an interrupted run gives the same file. Two runs at a
    time are refused. Listed files that have been removed are made again, and a strict run does not reuse the result of
    one that skipped sources.

    Args:
        output: the COCO file.
        image_root: folder that the file names in it are relative to.
        sources: the sources to convert.
        convert: picklable; from a source to {"images": [...], "annotations": [[...], ...] (one list per image, without
            ids), "left_out": {reason: count}}, optionally "wrong": {reason: [name, ...]}, what else was left out, to be
            counted and named in a warning, and "files": {path under `image_root`: function that returns its bytes}, to
            be written.
        classes: names of the categories; ids count from 1.
        settings: everything else that the result depends on, as JSON values.
        skip_bad: leave out sources for which `convert` raises OSError or ValueError, with one warning, instead of
            raising.

    Returns:
        Number of "images" and "annotations", then of what was left out, by reason.

    Raises:
        OSError: what `convert` raises, a file cannot be written, or another preparation is writing `output`.
        InputError: what `convert` raises, two sources have one name, or all sources are bad.
    """
    _check_names(output, sources)
    parts = output.with_name(f".{output.name}.parts")
    record = output.with_name(f".{output.name}.source")
    signature = _signature({"settings": settings, "classes": list(classes)}, *sources)
    with _alone(output):
        if output.is_file() and record.is_file():
            content = parse_json(record.read_bytes(), str(record))
            if not isinstance(content, dict) or not {"signature", "counts", "files"} <= content.keys():
                raise InputError(f"{record}: damaged; remove the file to prepare {output.name} again")
            same = content["signature"] == signature and (skip_bad or _UNUSABLE not in content["counts"])
            if same and _are_there(content["files"], image_root):
                _logger.info(f"{output} exists already")
                return content["counts"]
        parts.mkdir(exist_ok=True)
        work = partial(_convert, convert, parts, image_root, settings, skip_bad)
        reasons = list(map_in_processes(work, sources, f"Preparing {output.stem}", "image"))
        bad = [reason for reason in reasons if reason]
        if bad:
            if len(bad) == len(sources):
                raise InputError(f"{output}: no source can be used; the first: {bad[0]}")
            _logger.warning(f"{output}: left out {len(bad)} of {len(sources)} images: {first(bad)}")
        wrong = FileCheck(output, strict=False)
        # Of a source that is bad or gone now there is none, or one of an earlier run.
        good = [_part(parts, source) for source, reason in zip(sources, reasons) if not reason]
        counts, files = _join(output, good, classes, wrong)
        if wrong.problems:
            _logger.warning(wrong.summary())
        if bad:
            counts[_UNUSABLE] = len(bad)
        with atomic_write(record) as file:
            json.dump({"signature": signature, "counts": counts, "files": files}, file)
        shutil.rmtree(parts)
    return counts


def natural_order(name: str) -> list:
    """Return a sort key under which P10 comes after P9."""
    return [int(word) if word.isdecimal() else word for word in re.split(r"(\d+)", name)]


def _check_names(output: Path, sources: Sequence[Source]) -> None:
    """Raise if two sources have one name: they would share a part."""
    named: dict[str, Source] = {}
    for source in sources:
        other = named.setdefault(source.name, source)
        if other is not source:
            raise InputError(
                f"{output}: expected images of different names, got two called {source.name}: {other.files[-1]} and "
                f"{source.files[-1]}; rename or remove one"
            )


@contextlib.contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Keep other preparations from writing a file, or raise if one does: they would remove each other's parts."""
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(output.with_name(f".{output.name}.lock"), _PATIENCE):
            yield
    except BlockingIOError as error:
        raise OSError(f"{output}: another preparation is writing it; wait until that has ended") from error


def _convert(
    convert: Callable, parts: Path, image_root: Path, settings: dict, skip_bad: bool, source: Source
) -> str | None:
    """Convert a source to its part, unless all of it is there; why it cannot be used, if that is to be skipped."""
    part = _part(parts, source)
    signature = _signature({"settings": settings}, source)
    if part.is_file():
        with open(part, encoding="utf-8") as file:
            same = parse_json(file.readline(), str(part)) == signature
        if same and _are_there(_files(_read(part)), image_root):
            return None
        part.unlink()
    try:
        content = convert(source)
    except (OSError, ValueError) as error:
        if not skip_bad:
            raise
        return str(error)
    for name, encode in content.pop("files", {}).items():  # a full disk, say, is not the source's fault
        with atomic_write(image_root / name, "wb") as file:
            file.write(encode())
    with atomic_write(part) as file:
        file.write(json.dumps(signature) + "\n" + json.dumps(content, separators=(",", ":")))
    return None


def _part(parts: Path, source: Source) -> Path:
    return parts / f"{source.name}.json"


def _signature(settings: dict, *sources: Source) -> str:
    """Changes when the settings or one of the files change."""
    states = [[source.name, [(str(path), *_state(path)) for path in source.files]] for source in sources]
    return hashlib.sha256(json.dumps([settings, states], sort_keys=True).encode()).hexdigest()


def _state(path: Path) -> tuple[int, int]:
    state = os.stat(path) if path.is_file() else None  # that it is missing is for `convert` to say
    return (state.st_size, state.st_mtime_ns) if state else (-1, -1)


def _files(content: dict) -> list[str]:
    """The images and label maps that a source gave."""
    return [image[key] for image in content["images"] for key in ("file_name", "sem_seg_file_name") if key in image]


def _are_there(files: Sequence[str], folder: Path) -> bool:
    return all((folder / file).is_file() for file in files)


def _join(
    output: Path, parts: Sequence[Path], classes: Sequence[str], wrong: FileCheck
) -> tuple[dict[str, int], list[str]]:
    """Write the parts as one file, one in memory at a time: the annotations of iSAID would not fit.

    What the parts name as wrong is noted in `wrong`.

    Returns:
        What is in it, by kind, and the files that it lists.

    Raises:
        InputError: a part is gone.
    """
    lost = [part for part in parts if not part.is_file()]
    wrong.fails_if_any(lost, "each image must have its part, and starting the command again makes what is gone")
    files: list[str] = []
    counts = {"images": 0, "annotations": 0}
    with open_coco(output, classes) as coco:
        for part in parts:
            content = _read(part)
            files += _files(content)
            for image, annotations in zip(content["images"], content["annotations"], strict=True):
                image_id = coco.add_image(image)
                for annotation in annotations:
                    coco.add({"image_id": image_id, **annotation})
            for reason, count in content["left_out"].items():
                counts[reason] = counts.get(reason, 0) + count
            for reason, names in content.get("wrong", {}).items():
                counts[reason] = counts.get(reason, 0) + len(names)
                wrong.note(reason, names)
        counts.update(images=coco.images, annotations=coco.annotations)
    return counts, files


def _read(part: Path) -> dict:
    with open(part, encoding="utf-8") as file:
        file.readline()  # the signature
        return parse_json(file.readline(), str(part))
