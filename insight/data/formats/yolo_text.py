"""The text files of YOLO datasets: classes by number, coordinates as shares of the image's size."""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from insight.errors import InputError
from insight.runtime.yaml_files import read_yaml

from .file_check import read_text

YOLO_LABELS = "labels"  # the folder beside images/


def read_yolo_lines(
    path: Path, expected: str, fits: Callable[[int], bool] = lambda count: True
) -> list[tuple[int, list[float]]]:
    """Read a label file.

    Args:
        path: the .txt file.
        expected: form of a line, for errors.
        fits: whether a line may have so many numbers after its class.

    Returns:
        The class and the numbers of each line that is not empty.

    Raises:
        OSError: the file is missing or cannot be read.
        InputError: a line has another form; the message names the file and the line.
    """
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words[1:]]
        except ValueError:
            values = [math.nan]
        if not is_index(words[0]) or not all(map(math.isfinite, values)) or not fits(len(values)):
            raise InputError(f"{path}, line {number}: expected {expected}, got {line.strip()!r:.80}")
        found.append((int(words[0]), values))
    return found


def is_index(word: str) -> bool:
    """Return whether a word is a whole number from 0 that a class may have, of at most nine digits."""
    return word.isdecimal() and len(word) <= 9


def class_names_of(path: Path) -> Mapping[int, str] | None:
    """Find the names of a dataset's classes.

    Args:
        path: a label file, or any folder of the dataset.

    Returns:
        Names by number, from "names" in data.yaml, dataset.yaml or the only YAML file, or from the lines of
        classes.txt, in the folder that holds labels/ or in the first one above it that has such a file; None if none
        has.

    Raises:
        InputError: the YAML file has no usable "names".
    """
    parts = path.absolute().parts
    end = len(parts) - parts[::-1].index(YOLO_LABELS) - 1 if YOLO_LABELS in parts else len(parts)
    return _class_names_in(Path(*parts[:end]))


@functools.lru_cache(maxsize=64)
def _class_names_in(folder: Path) -> Mapping[int, str] | None:
    for place in (folder, folder.parent):
        files = sorted([*place.glob("*.yaml"), *place.glob("*.yml")])
        named = [file for file in files if file.stem in ("data", "dataset")]
        if named or len(files) == 1:
            return _names_in((named or files)[0])
        if (place / "classes.txt").is_file():
            return dict(enumerate(read_text(place / "classes.txt").splitlines()))
    return None


def _names_in(path: Path) -> dict[int, str]:
    content = read_yaml(path)
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(type(number) is int for number in names):
        raise InputError(f'{path}: expected "names" of the classes, as a list or by number')
    return {number: str(name) for number, name in names.items()}


def class_name(names: Mapping[int, str] | None, number: int, path: Path) -> str:
    """Return the name of a class.

    Args:
        names: names by number; None if the dataset names none.
        number: the class.
        path: the label file, for errors.

    Returns:
        Its name; the number as text if the dataset names none.

    Raises:
        InputError: the class has no name though others have.
    """
    if names is None:
        return str(number)
    if number not in names:
        raise InputError(f"{path}: class {number} has no name; the dataset names {', '.join(map(str, sorted(names)))}")
    return names[number]
