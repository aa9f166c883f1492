"""`insight data foreground`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from insight.errors import InputError
from insight.runtime.inputs import check_input
from insight.runtime.outputs import check_output_folder

from ..options import add_bad_options, add_command


def add_parser(tasks) -> None:
    """Add the command."""
    parser = add_command(
        tasks,
        "foreground",
        run,
        "Measure the share of each image that instances cover: Table I and Fig. 1 (a) of Insight Any Instance",
        (
            "data foreground instances.json --output foreground",
            "data foreground NWPU=nwpu/train.json,nwpu/val.json SSDD=ssdd/train.json --output foreground",
        ),
    )
    parser.sources = "annotations"
    parser.add_argument(
        "annotations",
        nargs="+",
        metavar="SOURCE",
        help="COCO files, [NAME=]FILE[,FILE]; those of one dataset share a row",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for foreground.md, .json and .png")
    add_bad_options(parser, "leave out bad annotations")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    output = check_output_folder(args.output)
    sources = _sources(args.annotations)

    import numpy as np

    from insight.data.formats.file_check import SKIP_HINT, FileCheck
    from insight.data.inspection.foreground import foreground_ratios
    from insight.visualization.foreground import report_foreground

    ratios = {}
    for name, paths in sources.items():
        checks = [FileCheck(path, not args.skip_bad, SKIP_HINT) for path in paths]
        parts = [foreground_ratios(path, check) for path, check in zip(paths, checks)]
        for check in checks:
            if check.problems:
                print(f"warning: {check.summary()}", file=sys.stderr)
        ratios[name] = np.concatenate(parts)
    print(report_foreground(ratios, output), end="")


def _sources(texts: Sequence[str]) -> dict[str, list[Path]]:
    sources: dict[str, list[Path]] = {}
    for text in texts:
        name, _, files = text.rpartition("=")
        paths = [Path(file) for file in ([files] if os.path.isfile(files) else files.split(","))]
        name = name or paths[0].stem
        if name in sources:
            raise InputError(f"{text}: {name} is given twice; {name}=FILE,FILE makes one row of several files")
        sources[name] = [check_input(path) for path in paths]
    return sources
