"""The synthetic scenes as datasets: rendered on first use, and kept as COCO JSON and PNG files."""

import logging
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from iopath.common.file_io import file_lock

from insight.data.formats.coco_writer import open_coco
from insight.data.formats.images import write_png
from insight.data.scenes import CATEGORIES, draw_scene, generator_version
from insight.runtime.processes import map_in_processes
from insight.runtime.words import counted
from insight.structures.polygons import mask_to_polygons

from .coco import register_coco
from .root import render_root

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """A set of scenes: the seeds first_seed, first_seed + 1, ... at one size.

    Args:
        count: number of scenes.
        first_seed: seed of the first scene.
        size: (height, width), pixels.
        zooms: how many times larger than usual objects are, see `draw_scene`: the scenes take turns.
        worn: see `draw_scene`.
    """

    count: int
    first_seed: int
    size: tuple[int, int]
    zooms: tuple[float, ...] = (1.0,)
    worn: bool = False


SPLITS = {
    "scenes_train": Split(480, 0, (320, 320)),
    "scenes_val": Split(80, 1_000_000, (320, 320)),
    "scenes_large_train": Split(1200, 100_000, (512, 512)),
    "scenes_worn_train": Split(1200, 200_000, (512, 512), zooms=(1.0, 1.5, 2.0), worn=True),
}


def register() -> None:
    """Register the splits."""
    for name, split in SPLITS.items():
        folder = render_root() / f"{name}-{split.size[1]}x{split.size[0]}x{split.count}-{generator_version()}"
        register_coco(
            name,
            folder / "instances.json",
            folder / "images",
            classes=CATEGORIES,
            prepare=partial(ensure_rendered, folder, split),
        )


def ensure_rendered(folder: Path, split: Split) -> None:
    """Render a split into a folder, unless the folder exists.

    The folder appears when it is complete. If several processes need it, one renders it and the others wait.

    Args:
        folder: gets instances.json (COCO; each annotation also holds "oriented_box", as in SceneInstance) and
            images/.
        split: what to draw.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.part")
    with file_lock(str(unfinished)):
        if folder.is_dir():
            return  # another process drew it while this one waited
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
        _render(unfinished, split)
        os.replace(unfinished, folder)
    _logger.info(f"Drew {counted(split.count, 'scene')} into {folder}")


def _render(folder: Path, split: Split) -> None:
    (folder / "images").mkdir(parents=True)
    draw = partial(_draw, folder / "images", split)
    with open_coco(folder / "instances.json", CATEGORIES) as coco:
        for image, objects in map_in_processes(draw, range(split.count), "Drawing scenes", "scene"):
            coco.add_image(image)
            for annotation in objects:
                coco.add(annotation)


def _draw(images: Path, split: Split, index: int) -> tuple[dict, list[dict]]:
    """Draw one scene to disk; its COCO image and annotations."""
    zoom = split.zooms[index % len(split.zooms)]
    scene = draw_scene(split.first_seed + index, split.size, zoom=zoom, worn=split.worn)
    name = f"{index:05d}.png"
    write_png(images / name, scene.image)
    height, width = split.size
    image = {
        "id": index + 1,
        "file_name": name,
        "height": height,
        "width": width,
        "kind": scene.kind,
        "look": scene.look,
        "gsd": round(scene.gsd, 4),
        "off_nadir": round(scene.off_nadir, 2),
        "zoom": zoom,
    }
    objects = [
        {
            "image_id": index + 1,
            "category_id": CATEGORIES.index(instance.category) + 1,
            "bbox": list(instance.box),
            "oriented_box": [round(v, 3) for v in instance.oriented_box],
            "area": int(instance.mask.sum()),
            "segmentation": [p.ravel().tolist() for p in mask_to_polygons(instance.mask, instance.box[:2])],
            "iscrowd": 0,
        }
        for instance in scene.instances
    ]
    return image, objects
