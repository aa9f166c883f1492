"""Further files of an annotation run: its masks in other formats."""

import os
from collections.abc import Sequence
from pathlib import Path

from .conversion import Conversion, read_dataset, write_content
from .format_names import VECTOR_SUFFIXES
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
