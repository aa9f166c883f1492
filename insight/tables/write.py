"""Tables as Markdown and JSON."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insight.runtime.atomic_files import atomic_write
from insight.runtime.file_names import safe_name
from insight.runtime.json_values import plain

from .plot import draw
from .summary import Cell, Summary

_WIDEST = 12  # columns that fit a page; a wider table is transposed


def write_table(
    summary: Summary, folder: str | os.PathLike, command: str, made: dict[str, Any], pictures: Sequence[Path] = ()
) -> list[Path]:
    """Write NAME.md, NAME.json and, once there is a number, NAME.png.

    Args:
        summary: the table.
        folder: folder for the files.
        command: the command that makes the table.
        made: the output of `describe_machine` for this process; runs have their own.
        pictures: files in the folder to show in NAME.md.

    Returns:
        The files, with the pictures.
    """
    paths = [Path(folder, safe_name(summary.table.name, f".{ending}")) for ending in ("md", "json")]
    with atomic_write(paths[0]) as file:
        file.write(markdown(summary, command, made))
        file.writelines(f"\n![{path.stem}](<{os.path.relpath(path, folder)}>)\n" for path in pictures)
    with atomic_write(paths[1]) as file:
        json.dump(plain(_as_json(summary, command, made)), file, indent=1)
    picture = Path(folder, safe_name(summary.table.name, ".png"))
    if draw(summary, picture):
        paths.append(picture)
    return [*paths, *pictures]


def markdown(summary: Summary, command: str, made: dict[str, Any]) -> str:
    """Format a table as Markdown.

    Args:
        summary, command, made: as in `write_table`.

    Returns:
        The text.
    """
    table = summary.table
    grid = [["", *(column.title for column in summary.columns)]]
    grid += [[row.name, *map(_text, cells)] for row, cells in zip(table.rows, summary.cells)]
    if len(summary.columns) > _WIDEST:
        grid = [list(column) for column in zip(*grid)]
    lines = [f"# {table.title}", "", _row(grid[0]), _row(["---"] * len(grid[0])), *map(_row, grid[1:])]
    done = [(run, content) for run, content in zip(summary.runs, summary.results) if content]
    lines += ["", *([table.note.strip(), ""] if table.note else [])]
    seeds = ", ".join(map(str, dict.fromkeys(run.seed for run in summary.runs if run.seed is not None))) or "none"
    others = "".join(f"; {row.name}: over {row.over}" for row in table.rows if row.over)
    lines += [
        f"Mean ± sample standard deviation over the seeds ({seeds}); in parentheses the gain over the first row"
        f"{others}. {len(done)} of {len(summary.runs)} runs are complete; - marks what is missing.",
        "",
        f"- command: `{command}`",
        f"- written: {made['date']}, commit {made['commit']}",
    ]
    origins: dict[str, list[str]] = {}
    for run, content in done:
        origins.setdefault(_origin(content["made"]), []).append(run.label)
    lines += [f"- {'; '.join(labels)}: {origin}" for origin, labels in origins.items()]
    return "\n".join(lines) + "\n"


def _row(texts: list[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _text(cell: Cell) -> str:
    if cell.mean is None:
        return "no ground truth" if cell.values else "-"
    text = f"{cell.mean:.2f}"
    if cell.deviation is not None:
        text += f" ± {cell.deviation:.2f}"
    return text if cell.gain is None else f"{text} ({cell.gain:+.2f})"


def _origin(made: dict[str, Any]) -> str:
    """Date, versions and hardware of a run."""
    hardware = made["gpu"] or f"{made['cpu']}, {made['threads']} of {made['cores']} threads"
    return f"{made['date'][:10]}, commit {made['commit']}, torch {made['torch']}, {hardware}, {made['machine']}"


def _as_json(summary: Summary, command: str, made: dict[str, Any]) -> dict[str, Any]:
    rows = []
    for row, cells in zip(summary.table.rows, summary.cells):
        runs = [
            {"seed": run.seed, "folder": str(run.folder), **content}
            for run, content in zip(summary.runs, summary.results)
            if run.row is row and content
        ]
        numbers = {
            column.title: {"values": cell.values, "mean": cell.mean, "deviation": cell.deviation, "gain": cell.gain}
            for column, cell in zip(summary.columns, cells)
        }
        rows.append(
            {"name": row.name, "config": list(row.configs), "options": row.options, "cells": numbers, "runs": runs}
        )
    columns = [dataclasses.asdict(column) for column in summary.columns]
    return {"title": summary.table.title, "command": command, "made": made, "columns": columns, "rows": rows}
