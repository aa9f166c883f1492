"""Further files of an annotation run: its masks in other formats."""

import os
from collections.abc import Sequence
from pathlib import Path

from insight.errors import InputError

from .conversion import VECTOR_SUFFIXES, Conversion, read_dataset, write_content
from .run import COCO
from .sources import Source

# Where each format goes in the output folder.
_NAMES = {
    "yolo-seg": "yolo-seg",
    "yolo-obb": "yolo-obb",
    "dota": "dota",
    "soda-a": "soda-a",
    "labelme": "labelme",
    "label-studio": "label_studio.json",
    "cvat": "cvat.xml",
    **{suffix[1:]: f"instances{suffix}" for suffix in VECTOR_SUFFIXES},
}
EXPORTS = ("coco", *_NAMES)


def parse_exports(text: str) -> list[str]:
    """Parse names of formats.

    Args:
        text: names in `EXPORTS`, separated by commas.

    Returns:
        The names without "coco", which is always written.

    Raises:
        InputError: an unknown name.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in EXPORTS]
    if unknown:
        raise InputError(f"to: unknown format {unknown[0]!r}; expected {', '.join(EXPORTS)}, separated by commas")
    return [name for name in dict.fromkeys(names) if name != "coco"]


def check_exports(formats: Sequence[str], source: Source) -> None:
    """Check, before masks are made, that vector layers can be written.

    Args:
        formats: names from `parse_exports`.
        source: the boxes.

    Raises:
        MissingDependencyError: the extra `geo` is not installed.
        InputError: an image has no CRS.
    """
    if any(f".{name}" in VECTOR_SUFFIXES for name in formats):
        from insight.geo.datasets import require_georeferenced

        require_georeferenced(image.path for image in source.images)


def export(output: str | os.PathLike, formats: Sequence[str], image_root: Path | None) -> dict[str, Conversion]:
    """Write the masks of a run, which `annotate` has finished, in other formats.

    Args:
        output: the run's folder; files of an earlier export are replaced.
        formats: names from `parse_exports`.
        image_root: folder of the images, or the only image, which vector layers need.

    Returns:
        What was written, by the name of the file or folder in `output`.

    Raises:
        OSError: a file cannot be written.
        InputError: a format cannot hold the result.
    """
    output = Path(output)
    content = read_dataset(output / COCO)
    done = {}
    for name in formats:
        target = "vector" if f".{name}" in VECTOR_SUFFIXES else name
        done[_NAMES[name]] = write_content(content, output / _NAMES[name], target, image_root)
    return done
