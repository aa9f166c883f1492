"""Draw the kernels' speed against PyTorch from benchmarks/results/ into one PNG file.

Each bar is a case: the time of the quickest PyTorch rival divided by that of insight's kernel. Where several files hold
a case, the newest counts.

    python benchmarks/plot_results.py --output docs/images/speed.png
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import report

from insight.visualization.figures import png_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parent / "results"
KERNELS = {"crop_resize": "#2a78b5", "global_to_local_attention": "#c8553d", "area_loss": "#3f8f5b"}
RIVALS = {
    "grid_sample": "grid_sample",
    "interpolate": "interpolate",
    "roi_align": "roi_align",
    "sdpa": "SDPA",
    "eager": "eager",
    "torchvision box_iou": "box_iou",
}


@dataclass(frozen=True)
class Bar:
    """A case of a kernel and its quickest rival.

    Args:
        kernel: a key of `KERNELS`.
        case: the case's name in the benchmark.
        rival: a key of `RIVALS`.
        ratio: rival's time / our time.
    """

    kernel: str
    case: str
    rival: str
    ratio: float


def quickest_rivals(files: Sequence[Path]) -> tuple[list[Bar], str]:
    """Read the bars of the plot from files of `run.py --json`.

    Args:
        files: JSON files; of files that hold the same case, the one with the newest date counts.

    Returns:
        The bars, grouped by kernel in the order of `KERNELS`, and a line that names the machine. Cases that failed or
        have no PyTorch rival are left out.

    Raises:
        ValueError: a file cannot be read, or no file holds a case of a kernel.
    """
    runs = sorted((report.load(path) for path in files), key=lambda run: run[0]["date"])
    bars, machines = {}, set()
    for machine, outcomes in runs:
        for outcome in outcomes:
            ratios = {name: m.ratio for name, m in outcome.contenders.items() if name in RIVALS}
            if outcome.benchmark in KERNELS and not outcome.error and ratios:
                rival = min(ratios, key=ratios.get)
                bars[outcome.benchmark, outcome.case] = Bar(outcome.benchmark, outcome.case, rival, ratios[rival])
                torch = str(machine["torch"]).partition("+")[0]
                machines.add(f"{machine['cpu']}, {machine['threads']} threads, torch {torch}")
    if not bars:
        raise ValueError(f"no case of {', '.join(KERNELS)} in {len(files)} files")
    ordered = [bar for kernel in KERNELS for bar in bars.values() if bar.kernel == kernel]
    return ordered, "; ".join(sorted(machines))


def draw(figure: "Figure", bars: Sequence[Bar], machine: str) -> None:
    """Draw horizontal bars on a logarithmic axis, one group per kernel.

    Args:
        figure: an empty figure.
        bars: the output of `quickest_rivals`.
        machine: the line below the axis.
    """
    axes = figure.add_subplot()
    ticks, labels, y = [], [], 0.0
    for kernel, colour in KERNELS.items():
        group = [bar for bar in bars if bar.kernel == kernel]
        if not group:
            continue
        ticks.append(y)
        labels.append(kernel)
        for bar in group:
            y += 1
            axes.barh(y, bar.ratio - 1, left=1, height=0.72, color=colour)
            ratio = f"{bar.ratio:.1f}×" if bar.ratio < 10 else f"{bar.ratio:.0f}×"
            tip = (max(bar.ratio, 1), y)
            axes.annotate(f"{ratio}  {RIVALS[bar.rival]}", tip, (6, -1), textcoords="offset points", va="center")
            ticks.append(y)
            labels.append(bar.case.replace(" -> ", " → ").replace("^2", "²"))
        y += 1.4
    axes.axvline(1, color="#333333", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(min(0.8, *(0.9 * bar.ratio for bar in bars)), 4 * max(bar.ratio for bar in bars))
    axes.set_ylim(y - 0.6, -0.7)
    axes.set_yticks(ticks, labels)
    for label in axes.get_yticklabels():
        if label.get_text() in KERNELS:
            label.set(color=KERNELS[label.get_text()], weight="bold")
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1×", "2×", "5×", "10×", "20×", "50×", "100×"])
    axes.minorticks_off()
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(
        "insight's kernels against the quickest PyTorch function", x=0.01, ha="left", weight="bold", size=13
    )
    axes.set_xlabel(f"time of the PyTorch function / time of the kernel (log scale)\n{machine}", color="#555555")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the plot.

    Args:
        arguments: command line; None for that of the process.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="files of run.py --json (default: results/cpu_*)")
    parser.add_argument("--output", type=Path, required=True, metavar="PNG", help="the picture to write")
    args = parser.parse_args(arguments)
    try:
        bars, machine = quickest_rivals(args.files or sorted(RESULTS.glob("cpu_*.json")))
        with png_figure(args.output, (10, 0.33 * len(bars) + 2.1)) as figure:
            draw(figure, bars, machine)
    except (ValueError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
