"""The description of a table: a small YAML file that says which runs are its rows and which numbers its columns."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MEASURES = ("parameters", "gmacs", "fps", "speed")  # of a row's model, not of its runs
_PRECISIONS = ("bbox", "segm", "boundary")  # tasks whose metrics are average precisions
_PRECISION = re.compile(r"AP(50|75|s|m|l|-.+)?")


@dataclass(frozen=True)
class Row:
    """A model of a table.

    Args:
        name: what the table calls it.
        config: its config file.
        options: config values that differ from the file.
        eval_only: evaluate the weights that the config names, without training.
        over: name of the row that its gains are over; empty for the first.
    """

    name: str
    config: Path
    options: dict[str, Any] = field(default_factory=dict)
    eval_only: bool = False
    over: str = ""


@dataclass(frozen=True)
class Column:
    """A number that each row has.

    Args:
        title: what the table calls it.
        metric: "DATA SET/TASK/METRIC" of a run's results; one "*" in METRIC, and in the title, stands for all that
            fit in any row. Or a measure of the model: "parameters", in millions; "gmacs/N", of N prompts on an image;
            "fps" and "speed", images a second, and how many times those of the first row.
        needed: a row without it is an error; otherwise its cell is empty.
    """

    title: str
    metric: str
    needed: bool = True

    @property
    def is_measure(self) -> bool:
        """Whether it is of the model, not of its runs."""
        return self.metric.split("/")[0] in MEASURES

    @property
    def path(self) -> tuple[str, str, str]:
        """Data set, task and metric of a column that is no measure."""
        return tuple(self.metric.split("/", 2))


@dataclass(frozen=True)
class Plot:
    """What the picture shows.

    Args:
        kind: "bars", a group for each column, in it a bar for each row; or "lines".
        along: lines only: "rows", a line for each column, or "columns", a line for each row.
        x: lines only: where the rows, or the columns, lie on the axis.
        label: of the x axis.
        columns: titles of the columns to draw; empty for all that are no measures.
        right: titles of the columns whose axis is on the right.
    """

    kind: str = "bars"
    along: str = "rows"
    x: tuple[float, ...] = ()
    label: str = ""
    columns: tuple[str, ...] = ()
    right: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """Images of the data set, and beside each what the models make of it.

    Args:
        images: their file names; empty for some with many classes.
        count: how many, where none are named.
        prompted: prompt the models with the true boxes instead of letting them find objects.
        worst: instead of many classes, those with the objects that the last row's model, a SOPSeg, segments worst.
    """

    images: tuple[str, ...] = ()
    count: int = 8
    prompted: bool = False
    worst: bool = False


@dataclass(frozen=True)
class Table:
    """A table of one of the papers, or of yours.

    Args:
        name: of its files.
        title: its heading.
        rows: the models.
        columns: the numbers.
        seeds: a run of each row for each.
        plot: its picture.
        pictures: images that the models of the first seed are shown on; None for none.
        note: what a reader must know.
        needs: config keys that must not be empty, which whoever makes the table gives, such as MODEL.SOPSEG.WEIGHTS.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    seeds: tuple[int, ...] = (1,)
    plot: Plot = Plot()
    pictures: Pictures | None = None
    note: str = ""
    needs: tuple[str, ...] = ()


def read_table(path: str | os.PathLike) -> Table:
    """Read the description of a table.

    Args:
        path: the YAML file; its config files are relative to it.

    Returns:
        The table.

    Raises:
        ValueError: what is wrong with the file, in one line.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected the description of a table, as in configs/tables/")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    _check(
        str(path),
        content,
        {"title": str, "rows": list, "columns": dict},
        {"seeds": list, "plot": dict, "pictures": dict, "note": str, "needs": list},
    )
    rows = tuple(_row(f"{path}: row {i}", row, path.parent) for i, row in enumerate(content["rows"], 1))
    columns = tuple(_column(f"{path}: column {title!r}", title, m) for title, m in content["columns"].items())
    names = [row.name for row in rows]
    if not rows or len(set(names)) < len(names):
        raise ValueError(f"{path}: rows: expected at least one, and no name twice, got {', '.join(names) or 'none'}")
    unknown = [row for row in rows if row.over not in ("", *names)]
    if unknown:
        raise ValueError(f"{path}: row {unknown[0].name!r}: over: there is no row {unknown[0].over!r}")
    if not columns:
        raise ValueError(f"{path}: columns: expected at least one TITLE: METRIC")
    seeds = content.get("seeds", [1])
    if not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise ValueError(f"{path}: seeds: expected different whole numbers from 0 up, got {seeds}")
    plot = _plot(f"{path}: plot", content.get("plot", {}), rows, columns)
    pictures = _pictures(f"{path}: pictures", content["pictures"]) if "pictures" in content else None
    needs = tuple(map(str, content.get("needs", [])))
    note = content.get("note", "")
    return Table(path.stem, content["title"], rows, columns, tuple(seeds), plot, pictures, note, needs)


def _row(where: str, node: object, folder: Path) -> Row:
    _check(where, node, {"name": str, "config": str}, {"options": dict, "eval_only": bool, "over": str})
    config = folder / node["config"]
    if not config.is_file():
        raise ValueError(f"{where} ({node['name']}): config: no such file: {config}")
    return Row(node["name"], config, node.get("options", {}), node.get("eval_only", False), node.get("over", ""))


def _column(where: str, title: object, metric: object) -> Column:
    parts = metric.split("/", 2) if isinstance(metric, str) else []
    if parts[:1] == ["gmacs"]:
        well_formed = len(parts) == 2 and parts[1].isdecimal() and int(parts[1]) > 0
    elif parts and parts[0] in MEASURES:
        well_formed = len(parts) == 1
    else:
        well_formed = len(parts) == 3 and all(parts) and metric.count("*") <= 1 and "*" not in parts[0] + parts[1]
    if not well_formed:
        raise ValueError(
            f"{where}: expected DATA SET/TASK/METRIC (such as nwpu_vhr10_val/segm/AP), parameters, gmacs/N, fps or "
            f"speed, got {metric!r}"
        )
    if len(parts) == 3 and parts[1] in _PRECISIONS and not ("*" in metric or _PRECISION.fullmatch(parts[2])):
        raise ValueError(
            f"{where}: expected AP, AP50, AP75, APs, APm, APl or AP-CLASS of {parts[0]}/{parts[1]}, got {parts[2]!r}"
        )
    if ("*" in metric) != ("*" in str(title)):
        raise ValueError(f"{where}: a * must be in both the title and the metric {metric}")
    return Column(str(title), metric)


def _plot(where: str, node: object, rows: tuple[Row, ...], columns: tuple[Column, ...]) -> Plot:
    _check(where, node, {}, {"kind": str, "along": str, "x": list, "label": str, "columns": list, "right": list})
    plot = Plot(**{key: tuple(value) if isinstance(value, list) else value for key, value in node.items()})
    titles = [column.title for column in columns]
    unknown = [title for title in plot.columns + plot.right if title not in titles]
    if unknown:
        raise ValueError(f"{where}: there is no column {unknown[0]!r}; they are {', '.join(titles)}")
    if plot.kind not in ("bars", "lines") or plot.along not in ("rows", "columns"):
        raise ValueError(f"{where}: expected kind bars or lines, along rows or columns, got {plot.kind}, {plot.along}")
    if plot.kind == "lines":
        count = len(rows) if plot.along == "rows" else len(plot.columns or titles)
        if len(plot.x) != count or not all(type(x) in (int, float) for x in plot.x):
            raise ValueError(f"{where}: x: expected a number for each of the {count} {plot.along}, got {list(plot.x)}")
    return plot


def _pictures(where: str, node: object) -> Pictures:
    _check(where, node, {}, {"images": list, "count": int, "prompted": bool, "worst": bool})
    pictures = Pictures(**{**node, "images": tuple(map(str, node.get("images", [])))})
    if pictures.count < 1:
        raise ValueError(f"{where}: count: expected a whole number from 1 up, got {pictures.count}")
    if pictures.images and pictures.worst:
        raise ValueError(f"{where}: worst: not together with images, which are {', '.join(pictures.images)}")
    return pictures


_KINDS = {int: "a whole number", str: "text", list: "a list", dict: "KEY: VALUE pairs", bool: "True or False"}


def _check(where: str, node: object, required: dict[str, type], optional: dict[str, type]) -> None:
    """Raise one line unless a YAML node is a mapping of these keys to these types."""
    known = required | optional
    if not isinstance(node, dict):
        raise ValueError(f"{where}: expected KEY: VALUE pairs of {', '.join(known)}, got {node!r:.80}")
    for key in required:
        if key not in node:
            raise ValueError(f"{where}: {key} is missing")
    for key, value in node.items():
        if key not in known:
            raise ValueError(f"{where}: there is no key {key!r}; expected {', '.join(known)}")
        if not isinstance(value, known[key]):
            raise ValueError(f"{where}: {key}: expected {_KINDS[known[key]]}, got {value!r:.80}")
