"""Which image files cannot be decoded, or have another size than their annotations say. Needs no Detectron2."""

from collections.abc import Mapping
from pathlib import Path

from .coco_file import only_images
from .file_check import FileCheck
from .images import read_image
from .processes import map_in_processes

UNDECODABLE = "images cannot be decoded to the size that their annotations say"

_good: set[tuple[Path, tuple[int, int]]] = set()  # a data set is loaded several times, and decoding one takes minutes


def undecodable(sizes: Mapping[Path, tuple[int, int]]) -> dict[Path, str]:
    """Decode image files, several at a time; what was found good once is not decoded again in this process.

    Args:
        sizes: (height, width) that is expected of each file.

    Returns:
        What is wrong, in one line that names the file, of each that cannot be used.
    """
    new = [work for work in sizes.items() if work not in _good]
    if not new:
        return {}
    told = list(map_in_processes(_decode, new, "Decoding images", "image"))
    _good.update(work for work, wrong in zip(new, told) if wrong is None)
    return {path: wrong for (path, _), wrong in zip(new, told) if wrong is not None}


def without_undecodable(content: dict, image_root: Path, check: FileCheck) -> dict:
    """The content of a COCO file without the images that cannot be decoded, and their annotations.

    Args:
        content: as `read_coco` gives it.
        image_root: folder of the images.
        check: not strict; notes them under UNDECODABLE.

    Returns:
        What is left of it.
    """
    wrong = undecodable({image_root / i["file_name"]: (i["height"], i["width"]) for i in content["images"]})
    if not wrong:
        return content
    check.note(UNDECODABLE, wrong.values())
    return only_images(content, {i["id"] for i in content["images"] if image_root / i["file_name"] not in wrong})


def _decode(work: tuple[Path, tuple[int, int]]) -> str | None:
    path, size = work
    try:
        height, width = read_image(path).shape[:2]
    except (OSError, ValueError) as error:
        return str(error)
    if size != (height, width):
        return f"{path}: is {width} x {height} pixels, its annotations say {size[1]} x {size[0]}"
    return None
