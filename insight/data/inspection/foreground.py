"""Foreground ratio of images: Table I and Fig. 1 (a) of Insight Any Instance, for any COCO file."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from insight.data.formats.coco import read_coco
from insight.data.formats.file_check import FileCheck
from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.runtime.processes import map_in_processes
from insight.structures.rle import rle_area, rle_union, segmentation_to_rle
from insight.visualization.figures import plot_text, png_figure

TABLE_EDGES = (0.0, 0.1, 0.2, 1.0)  # Table I's


def foreground_ratios(annotations: Path, check: FileCheck | None = None) -> np.ndarray:
    """Compute the share of each image's pixels that instances cover; pixels shared by two count once.

    In a file without masks an annotation covers its box. Images without annotations count, with 0.

    Args:
        annotations: COCO JSON file; the images are not needed.
        check: what to do with mistakes in it, see `read_coco`.

    Returns:
        (N,) float64, 0 to 1, by increasing image id.

    Raises:
        OSError, InputError: see `read_coco`; or the file has no image.

    Source: Insight Any Instance, Table I.
    """
    content = read_coco(annotations, check=check)
    if not content["images"]:
        raise InputError(f"{annotations}: there is no image")
    masks: dict = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        masks[annotation["image_id"]].append(annotation.get("segmentation") or annotation["bbox"])
    work = [((image["height"], image["width"]), masks[image["id"]]) for image in content["images"]]
    return np.array(list(map_in_processes(_ratio, work, f"Measuring {Path(annotations).name}", "image")))


def shares(ratios: np.ndarray, edges: Sequence[float] = TABLE_EDGES) -> np.ndarray:
    """Compute the share of images in each interval of ratios.

    Args:
        ratios: (N,) float, 0 to 1.
        edges: B + 1 increasing bounds of the intervals; each includes its lower bound, the last one both.

    Returns:
        (B,) float64, summing to 1.
    """
    return np.histogram(ratios, edges)[0] / len(ratios)


def report_foreground(ratios: dict[str, np.ndarray], output: Path) -> str:
    """Write the table and the figure.

    Args:
        ratios: (N,) ratios by the dataset's name in the table; see `foreground_ratios`.
        output: folder for foreground.md (Table I), foreground.json and foreground.png (Fig. 1 (a)).

    Returns:
        The table, Markdown.
    """
    names = [f"[{a:.1f}, {b:.1f})" for a, b in zip(TABLE_EDGES[:-2], TABLE_EDGES[1:-1])] + ["[0.2, 1.0]"]
    lines = [f"| foreground ratio | images | {' | '.join(names)} | mean |", "|---|---|" + "---|" * (len(names) + 1)]
    for name, values in ratios.items():
        parts = " | ".join(f"{100 * share:.1f} %" for share in shares(values))
        lines.append(f"| {name} | {len(values)} | {parts} | {100 * values.mean():.2f} % |")
    table = "\n".join(lines) + "\n"
    with atomic_write(output / "foreground.md") as file:
        file.write(table)
    content = {
        name: {
            "images": len(values),
            "mean": float(values.mean()),
            "edges": list(TABLE_EDGES),
            "shares": shares(values).tolist(),
            "ratios": np.round(values, 6).tolist(),
        }
        for name, values in ratios.items()
    }
    with atomic_write(output / "foreground.json") as file:
        json.dump(content, file)
    _draw(ratios, output / "foreground.png")
    return table


def _ratio(work: tuple[tuple[int, int], list]) -> float:
    (height, width), masks = work
    codes = []
    for mask in masks:
        if isinstance(mask, list) and not isinstance(mask[0], list):  # a box
            x, y, w, h = mask
            mask = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        codes.append(segmentation_to_rle(mask, (height, width)))
    return rle_area(rle_union(codes)) / (height * width) if codes else 0.0


def _draw(ratios: dict[str, np.ndarray], path: Path) -> None:
    edges = np.linspace(0, 1, 11)
    with png_figure(path, (6, 3.6)) as figure:
        axes = figure.subplots()
        width = 0.8 / len(ratios)
        for i, (name, values) in enumerate(ratios.items()):
            places = np.arange(10) + (i - (len(ratios) - 1) / 2) * width
            axes.bar(places, 100 * shares(values, edges), width, label=plot_text(name))
        axes.set(xlabel="foreground pixel ratio", ylabel="images, percent", ylim=(0, 100))
        axes.set_xticks(np.arange(10), [f"{a:.1f}\u2013{b:.1f}" for a, b in zip(edges, edges[1:])], fontsize=7)
        axes.grid(axis="y", alpha=0.3)
        axes.legend()
