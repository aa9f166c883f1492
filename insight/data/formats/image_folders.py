"""Images in folders: finding them, and linking them into the folder of another format."""

import glob
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from insight.errors import InputError
from insight.runtime.folders import files_under

from .file_check import first, repeated
from .images import SUFFIXES


def find_images(inputs: Sequence[str], suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """Find image files.

    Args:
        inputs: files, folders (for the images directly in them, without hidden files) and glob patterns.
        suffixes: of the images in folders, in lower case.

    Returns:
        The files, each once, in the order of the inputs and then by name.

    Raises:
        InputError: an input is not a file or folder, a pattern matches nothing, or a folder has no images.
    """
    found: dict[Path, None] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if _is_image(p, suffixes))
            if not files:
                raise InputError(f"{path}: the folder has no images ({' '.join(suffixes)})")
        else:
            files = [path] if path.is_file() else _matches(text)
            if not files:
                raise InputError(f"{text}: no such image file or folder")
        found.update(dict.fromkeys(files))
    return list(found)


def _matches(pattern: str) -> list[Path]:
    return [Path(p) for p in sorted(glob.glob(pattern, recursive=True)) if not os.path.isdir(p)]


def _is_image(path: Path, suffixes: Sequence[str]) -> bool:
    # macOS leaves hidden companions ._NAME that contain no pixels.
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and not path.is_dir()


def label_paths(file_names: Iterable[str], suffix: str) -> dict[str, str]:
    """Name the label files of images, which lie in the same sub-folders under the same names.

    Args:
        file_names: names of images in a COCO file.
        suffix: suffix of the label files.

    Returns:
        Relative paths by image name.

    Raises:
        InputError: two images would share a label file, or a name leads out of the folder.
    """
    names = list(file_names)
    paths = {name: PurePath(name).with_suffix(suffix).as_posix() for name in names}
    outside = [name for name in paths if PurePath(name).is_absolute() or ".." in PurePath(name).parts]
    if outside:
        raise InputError(f"images: expected names inside their folder, got {first(outside)}")
    twice = repeated(paths[name] for name in names)  # also an image that is listed twice
    if twice:
        raise InputError(f"images: expected names that differ without suffix, got two of {first(twice)}")
    return paths


def link_images(file_names: Iterable[str], image_root: Path | None, folder: Path) -> int:
    """Link images into a folder, under the same names; where links are not possible, copy them.

    Args:
        file_names: names relative to `image_root`.
        image_root: the folder of the images; None: do nothing.
        folder: where the links go.

    Returns:
        The number of images that are missing.
    """
    missing = 0
    for name in file_names if image_root is not None else ():
        source, target = (image_root / name).absolute(), folder / name
        if not source.is_file():
            missing += 1
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink() or target.exists():
            if target.samefile(source):
                continue
            target.unlink()
        try:
            target.symlink_to(os.path.relpath(source, target.parent.resolve()))
        except OSError:  # a file system without links
            shutil.copyfile(source, target)
    return missing


def images_of_labels(labels: Iterable[Path], label_folder: Path, image_folder: Path) -> dict[Path, Path]:
    """Find the image of each label file: of the same path without suffix, else of the same name.

    Args:
        labels: files under `label_folder`.
        label_folder, image_folder: the two folders.

    Returns:
        Images by label file.

    Raises:
        InputError: a label file has no image, or several of its name.
    """
    by_path: dict[PurePath, Path] = {}
    by_name: dict[str, list[Path]] = {}
    for image in files_under(image_folder, SUFFIXES):
        by_path.setdefault(image.relative_to(image_folder).with_suffix(""), image)
        by_name.setdefault(image.stem, []).append(image)
    found, without = {}, []
    for label in labels:
        same = by_name.get(label.stem, [])
        image = by_path.get(label.relative_to(label_folder).with_suffix(""), same[0] if len(same) == 1 else None)
        if image is None:
            without.append(label)
        else:
            found[label] = image
    if without:
        raise InputError(f"{image_folder}: no image for {len(without)} label files: {first(without)}")
    return found
