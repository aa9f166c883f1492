"""Report on foreground ratios: Table I and Fig. 1 (a) of Insight Any Instance."""

import json
from pathlib import Path

import numpy as np

from insight.data.inspection.foreground import TABLE_EDGES, shares
from insight.runtime.atomic_files import atomic_write

from .figures import plot_text, png_figure


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
