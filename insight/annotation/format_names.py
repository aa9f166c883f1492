"""Names of annotation formats. Imports nothing heavy, so that a command line is checked at once."""

import os
from pathlib import Path

from insight.errors import InputError

READABLE = ("coco", "yolo", "yolo-seg", "yolo-obb", "dota", "soda-a", "voc", "labelme", "label-studio", "vector")
WRITABLE = ("coco", "yolo-seg", "yolo-obb", "dota", "soda-a", "labelme", "label-studio", "cvat", "vector")
VECTOR_SUFFIXES = (".gpkg", ".geojson", ".fgb", ".parquet", ".shp")
LAYER_SUFFIXES = (*VECTOR_SUFFIXES, ".csv")  # of layers of boxes
EXPORTS = (*(name for name in WRITABLE if name != "vector"), *(suffix[1:] for suffix in VECTOR_SUFFIXES))


def check_box_source(path: str | os.PathLike, image_root: str | os.PathLike | None) -> None:
    """Check that a source of boxes is a folder, or a file of a known suffix beside its images.

    Args:
        path: the source.
        image_root: for a COCO file the folder of its images, for a vector layer also one image; None for a folder.

    Raises:
        InputError: a file of another suffix, or images that are missing, do not exist or belong to a folder.
    """
    suffix = Path(path).suffix.lower()
    if Path(path).is_dir():
        if image_root is not None:
            raise InputError(f"image_root: expected none for a folder, which holds its images, got {image_root}")
    elif suffix in LAYER_SUFFIXES:
        if image_root is None:
            raise InputError(
                f"image_root: expected the image or the folder of the images that {path} lies on, got none"
            )
        if not Path(image_root).exists():
            raise InputError(f"image_root: {image_root}: no such file or folder")
    elif suffix == ".json":
        if image_root is None:
            raise InputError(f"image_root: expected the folder of the images of {path}, got none")
        if not Path(image_root).is_dir():
            raise InputError(f"image_root: {image_root}: no such folder")
    else:
        raise InputError(f"{path}: expected a folder with images/ and labelTxt/ (DOTA), Images/ and Annotations/ "
                         "(SODA-A) or images/ and labels/ (YOLO-OBB), a COCO .json "
                         f"file, or a vector layer ({', '.join(LAYER_SUFFIXES)}); `insight convert` makes a COCO file "
                         "of other formats")  # fmt: skip


def format_by_suffix(output: str | os.PathLike) -> str:
    """Return the format that the suffix of a file to write stands for.

    Args:
        output: the file.

    Returns:
        A name in `WRITABLE`.

    Raises:
        InputError: the suffix stands for none.
    """
    suffix = Path(output).suffix.lower()
    found = {".json": "coco", ".xml": "cvat", **dict.fromkeys(VECTOR_SUFFIXES, "vector")}.get(suffix)
    if found is None:
        raise InputError(f"output: the format of {output} is not recognised by its suffix; name it, one of "
                         f"{', '.join(WRITABLE)}")  # fmt: skip
    return found


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
