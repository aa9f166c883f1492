"""Finding images that cannot be decoded or differ in size from their annotations. Needs no Detectron2."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from insight.runtime.processes import map_in_processes

from .coco import only_images
from .file_check import FileCheck
from .images import read_image

UNDECODABLE = "images cannot be decoded to the size stated by their annotations"

_Expected = tuple[Path, tuple[int, int]]  # an image file and the (height, width) that its annotations state

_good: set[_Expected] = set()  # a dataset is loaded several times, and decoding one takes minutes


def undecodable(sizes: Mapping[Path, tuple[int, int]]) -> dict[Path, str]:
    """Decode image files in several processes. Files found good are not decoded again in this process.

    Args:
        sizes: expected (height, width) of each file.

    Returns:
        For each unusable file, one line that names it and says what is wrong.
    """
    return {path: wrong for (path, _), wrong in _wrong(sizes.items()).items()}


def without_undecodable(content: dict, image_root: Path, check: FileCheck) -> dict:
    """Remove images that cannot be decoded, and their annotations, from the content of a COCO file.

    A file that is listed several times is decoded once, and each entry is judged by its own size.

    Args:
        content: COCO dictionary, the output of `read_coco`.
        image_root: folder of the images.
        check: check that is not strict, which notes the images under UNDECODABLE.

    Returns:
        The COCO dictionary without them.
    """
    expected = {i["id"]: (image_root / i["file_name"], (i["height"], i["width"])) for i in content["images"]}
    wrong = _wrong(expected.values())
    if not wrong:
        return content
    check.note(UNDECODABLE, wrong.values())
    return only_images(content, {number for number, entry in expected.items() if entry not in wrong})


def _wrong(expected: Iterable[_Expected]) -> dict[_Expected, str]:
    """As `undecodable`, of files that may be expected in several sizes; each is decoded once."""
    new = [entry for entry in dict.fromkeys(expected) if entry not in _good]
    if not new:
        return {}
    paths = list(dict.fromkeys(path for path, _ in new))
    decoded = dict(zip(paths, map_in_processes(_decode, paths, "Decoding images", "image")))
    _good.update((path, size) for path, size in new if decoded[path] == size)
    return {(path, size): _complaint(path, size, decoded[path]) for path, size in new if decoded[path] != size}


def _decode(path: Path) -> tuple[int, int] | str:
    """Its (height, width), or why it has none."""
    try:
        return read_image(path).shape[:2]
    except (OSError, ValueError) as error:
        return str(error)


def _complaint(path: Path, size: tuple[int, int], decoded: tuple[int, int] | str) -> str:
    if isinstance(decoded, str):
        return decoded
    height, width = decoded
    return f"{path}: is {width} x {height} pixels, its annotations state {size[1]} x {size[0]}"
