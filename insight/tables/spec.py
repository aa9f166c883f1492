"""Descriptions of tables: YAML files that say which runs are the rows and which numbers the columns."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from insight.config import find_config, shipped_tables
from insight.errors import InputError
from insight.runtime.yaml_files import read_yaml

MEASURES = ("parameters", "gmacs", "fps", "speed")  # of a row's model, not of its runs
_PRECISIONS = ("bbox", "segm", "boundary")  # tasks whose metrics are average precisions
_PRECISION = re.compile(r"AP(50|75|s|m|l|@\d+|-.+)?")


@dataclass(frozen=True)
class Row:
    """A model of a table.

    Args:
        name: heading of the row.
        configs: names of shipped configs and paths of files, merged from left to right.
        options: config values that differ from the files'.
        eval_only: evaluate the weights that the config names, without training.
        over: name of the row that its gains are relative to; empty for the first.
    """

    name: str
    configs: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    eval_only: bool = False
    over: str = ""


@dataclass(frozen=True)
class Column:
    """A number of each row.

    Args:
        title: heading of the column.
        metric: "DATASET/TASK/METRIC" of a run's results; one "*" in METRIC, and in the title, stands for every metric
            that fits in any row. Or a measure of the model: "parameters", in millions; "gmacs/N", for N prompts on an
            image; "fps", images per second; "speed", the same as a multiple of the first row's.
        needed: a row without the metric is an error; otherwise its cell is empty.
    """

    title: str
    metric: str
    needed: bool = True

    @property
    def is_measure(self) -> bool:
        """Whether the number is of the model, not of its runs."""
        return self.metric.split("/")[0] in MEASURES

    @property
    def path(self) -> tuple[str, str, str]:
        """Dataset, task and metric of a column that is not a measure."""
        return tuple(self.metric.split("/", 2))


@dataclass(frozen=True)
class Plot:
    """What the plot shows.

    Args:
        kind: "bars", a group per column with a bar per row; or "lines".
        along: lines only: "rows", a line per column, or "columns", a line per row.
        x: lines only: position of each row, or column, on the x axis.
        label: label of the x axis.
        columns: titles of the columns to draw; empty for all that are not measures.
        right: titles of the columns on the right axis.
    """

    kind: str = "bars"
    along: str = "rows"
    x: tuple[float, ...] = ()
    label: str = ""
    columns: tuple[str, ...] = ()
    right: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """Images of the dataset with the ground truth and each model's masks side by side.

    Args:
        images: file names; empty for a choice of images with many classes.
        count: number of images, where none are named.
        prompted: prompt the models with the ground-truth boxes instead of detecting objects.
        worst: instead, choose the images with the objects that the last row's model, a SOPSeg, segments worst.
    """

    images: tuple[str, ...] = ()
    count: int = 8
    prompted: bool = False
    worst: bool = False


@dataclass(frozen=True)
class Table:
    """A table of one of the papers, or your own.

    Args:
        name: stem of its files.
        title: heading.
        rows: the models.
        columns: the numbers.
        seeds: each row is run once per seed.
        plot: its plot.
        pictures: images to show the models of the first seed on; None for none.
        note: notes for the reader, in Markdown.
        needs: config keys that must have a value, such as MODEL.SOPSEG.WEIGHTS.
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


def table_setups(name: str | os.PathLike) -> tuple[str, ...]:
    """Return the names of the setups that a table is described for; empty if it has only one, without a name.

    Args:
        name: as in `read_table`.

    Raises:
        InputError: the file cannot be used.
    """
    path = find_config(name, shipped_tables())
    return tuple(_setups(path, _content(path)))


def read_table(name: str | os.PathLike, setup: str = "") -> Table:
    """Read the description of a table.

    Args:
        name: name of a shipped table, such as `iai_2`, or path of a YAML file; paths in it are relative to it.
        setup: one of `table_setups`; may be left out where there is only one.

    Returns:
        The table; its name is the file's, followed by the setup's.

    Raises:
        InputError: the file or the setup cannot be used.
    """
    path = find_config(name, shipped_tables())
    content = _content(path)
    setups = _setups(path, content)
    if not setup and len(setups) == 1:
        setup = next(iter(setups))
    if setup not in setups and (setup or setups):
        known = ", ".join(setups) or "none, this table has no setups"
        raise InputError(f"setup: expected one of {known}, got {setup!r} ({path})")
    if setup:
        content = _fill(path, _rows_of_setup(path, content, setup, setups), setups[setup])
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
        raise InputError(f"{path}: rows: expected one or more, of different names, got {', '.join(names) or 'none'}")
    unknown = [row for row in rows if row.over not in ("", *names)]
    if unknown:
        raise InputError(f"{path}: row {unknown[0].name!r}: over: unknown row {unknown[0].over!r}")
    if not columns:
        raise InputError(f"{path}: columns: expected one or more TITLE: METRIC, got none")
    seeds = content.get("seeds", [1])
    if not seeds or not all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise InputError(f"{path}: seeds: expected different integers from 0 to 2^32 - 1, got {seeds!r:.80}")
    plot = _plot(f"{path}: plot", content.get("plot", {}), rows, columns)
    pictures = _pictures(f"{path}: pictures", content["pictures"]) if "pictures" in content else None
    needs = tuple(map(str, content.get("needs", [])))
    title, note = content["title"], content.get("note", "")
    name = f"{path.stem}_{setup}" if setup else path.stem
    return Table(name, title, rows, columns, tuple(seeds), plot, pictures, note, needs)


def _content(path: Path, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a description with its _BASE_."""
    if path.resolve() in chain:
        raise InputError(f"{path}: inherits from itself through _BASE_")
    if len(chain) > 10:
        raise InputError(f"{path}: more than 10 levels of _BASE_")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected KEY: VALUE pairs of title, rows and columns, got {content!r:.80}")
    base = content.pop("_BASE_", "")
    if not isinstance(base, str):
        raise InputError(f"{path}: _BASE_: expected a file, got {base!r:.80}")
    return _content(path.parent / base, (*chain, path.resolve())) | content if base else content


def _setups(path: Path, content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    setups = content.pop("setups", {})
    if not isinstance(setups, dict) or not all(
        isinstance(name, str)
        and re.fullmatch(r"\w[\w.-]*", name)
        and isinstance(values, dict)
        and all(isinstance(key, str) and _is_text_or_texts(value) for key, value in values.items())
        for name, values in setups.items()
    ):
        raise InputError(f"{path}: setups: expected NAME: {{KEY: text or list of configs}}, got {setups!r:.80}")
    return setups


def _is_text_or_texts(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _rows_of_setup(path: Path, content: dict[str, Any], setup: str, setups: dict[str, Any]) -> dict[str, Any]:
    """The description with the rows that are in a setup: all without `setups`, or with the setup in it."""
    if not isinstance(content.get("rows"), list):
        return content
    rows = []
    for row in content["rows"]:
        own = row.get("setups", list(setups)) if isinstance(row, dict) else list(setups)
        if not isinstance(own, list) or not all(isinstance(name, str) and name in setups for name in own):
            expected = ", ".join(setups)
            raise InputError(
                f"{path}: row {row.get('name')!r:.80}: setups: expected a list of some of {expected}, got {own!r:.80}"
            )
        if setup in own:
            rows.append({k: v for k, v in row.items() if k != "setups"} if isinstance(row, dict) else row)
    return {**content, "rows": rows}


def _fill(path: Path, node: Any, values: dict[str, Any]) -> Any:
    """Replace $KEY in all text by the setup's value; a value that is a list is spliced into the list around it."""
    if isinstance(node, str):
        if node.startswith("$") and node[1:] in values:
            return values[node[1:]]
        try:
            return Template(node).substitute({key: value for key, value in values.items() if isinstance(value, str)})
        except (KeyError, ValueError) as error:
            known = ", ".join(f"${key}" for key in values)
            raise InputError(f"{path}: {node!r:.80}: expected {known} ($$ is a $)") from error
    if isinstance(node, dict):
        return {_fill(path, key, values): _fill(path, value, values) for key, value in node.items()}
    if not isinstance(node, list):
        return node
    filled = []
    for item in node:
        value = _fill(path, item, values)
        filled += value if isinstance(item, str) and isinstance(value, list) else [value]
    return filled


def _row(where: str, node: object, folder: Path) -> Row:
    required = {"name": str, "config": (str, list)}
    _check(where, node, required, {"options": dict, "eval_only": bool, "over": str})
    given = [node["config"]] if isinstance(node["config"], str) else node["config"]
    where = f"{where} ({node['name']}): config"
    if not given or not all(isinstance(config, str) and config for config in given):
        raise InputError(f"{where}: expected a config or a list of configs, got {node['config']!r:.80}")
    configs = []
    for config in given:
        try:
            path = find_config(config)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        if not (folder / path).is_file():
            raise InputError(f"{where}: no such file: {folder / path}")
        configs.append(config if path.stem == config else str(folder / path))
    return Row(
        node["name"], tuple(configs), node.get("options", {}), node.get("eval_only", False), node.get("over", "")
    )


def _column(where: str, title: object, metric: object) -> Column:
    parts = metric.split("/", 2) if isinstance(metric, str) else []
    if parts[:1] == ["gmacs"]:
        well_formed = len(parts) == 2 and re.fullmatch(r"[1-9]\d{0,5}", parts[1], re.ASCII) is not None
    elif parts and parts[0] in MEASURES:
        well_formed = len(parts) == 1
    else:
        well_formed = len(parts) == 3 and all(parts) and metric.count("*") <= 1 and "*" not in parts[0] + parts[1]
    if not well_formed:
        raise InputError(
            f"{where}: expected DATASET/TASK/METRIC (such as nwpu_vhr10_val/segm/AP), parameters, gmacs/N, fps or "
            f"speed, got {metric!r:.80}"
        )
    if len(parts) == 3 and parts[1] in _PRECISIONS and not ("*" in metric or _PRECISION.fullmatch(parts[2])):
        raise InputError(
            f"{where}: expected AP, AP50, AP75, APs, APm, APl or AP-CLASS of {parts[0]}/{parts[1]}, got {parts[2]!r}"
        )
    if ("*" in metric) != ("*" in str(title)):
        raise InputError(f"{where}: a * must be in both the title and the metric {metric}")
    return Column(str(title), metric)


def _plot(where: str, node: object, rows: tuple[Row, ...], columns: tuple[Column, ...]) -> Plot:
    _check(where, node, {}, {"kind": str, "along": str, "x": list, "label": str, "columns": list, "right": list})
    plot = Plot(**{key: tuple(value) if isinstance(value, list) else value for key, value in node.items()})
    titles = [column.title for column in columns]
    unknown = [title for title in plot.columns + plot.right if title not in titles]
    if unknown:
        raise InputError(f"{where}: unknown column {unknown[0]!r}, only {', '.join(titles)}")
    if plot.kind not in ("bars", "lines") or plot.along not in ("rows", "columns"):
        raise InputError(f"{where}: expected kind bars or lines, along rows or columns, got {plot.kind}, {plot.along}")
    if plot.kind == "lines":
        count = len(rows) if plot.along == "rows" else len(plot.columns or titles)
        if len(plot.x) != count or not all(type(x) in (int, float) and abs(x) < 1e300 for x in plot.x):
            raise InputError(
                f"{where}: x: expected a number for each of the {count} {plot.along}, got {list(plot.x)!r:.80}"
            )
    return plot


def _pictures(where: str, node: object) -> Pictures:
    _check(where, node, {}, {"images": list, "count": int, "prompted": bool, "worst": bool})
    pictures = Pictures(**{**node, "images": tuple(map(str, node.get("images", [])))})
    if pictures.count < 1:
        raise InputError(f"{where}: count: expected at least 1, got {pictures.count}")
    if pictures.images and pictures.worst:
        raise InputError(f"{where}: worst: cannot be combined with images, got {', '.join(pictures.images)}")
    return pictures


_KINDS = {
    int: "an integer",
    str: "text",
    list: "a list",
    dict: "KEY: VALUE pairs",
    bool: "True or False",
    (str, list): "text or a list",
}


def _check(where: str, node: object, required: dict[str, Any], optional: dict[str, Any]) -> None:
    """Raise one line unless a YAML node is a mapping of these keys to these types."""
    known = required | optional
    if not isinstance(node, dict):
        raise InputError(f"{where}: expected KEY: VALUE pairs of {', '.join(known)}, got {node!r:.80}")
    for key in required:
        if key not in node:
            raise InputError(f"{where}: expected the key {key}, which is missing")
    for key, value in node.items():
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; expected {', '.join(known)}")
        if not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] is int):
            raise InputError(f"{where}: {key}: expected {_KINDS[known[key]]}, got {value!r:.80}")
