#!/usr/bin/env python
"""Prepare data sets, check them file by file, and say what is in them."""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from insight.cli.reporting import reports_errors
from insight.config import load_config
from insight.data.bad_options import SKIP_HINT, add_bad_options, add_bad_options_over_config, bad_overrides
from insight.data.datasets import register_from_config
from insight.data.formats.file_check import FileCheck
from insight.data.inspection.check import check_dataset
from insight.data.inspection.foreground import foreground_ratios, report_foreground
from insight.data.inspection.statistics import describe_dataset
from insight.data.preparation.painted import prepare_hrsid, prepare_isaid
from insight.data.preparation.sat_mtb import prepare_sat_mtb
from insight.runtime.outputs import output_folder


def arguments() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: prepare_data.py check nwpu_vhr10_train",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=f"{summary}.")

    for name, summary in (
        ("isaid", "cut iSAID into patches of 800 x 800 with COCO files, as its development kit does"),
        ("hrsid", "make a COCO file of HRSID's painted instances"),
        ("sat_mtb", "join SAT-MTB's masks, one file a frame, in one COCO file; it is written into the input folder"),
    ):
        part = command(name, summary)
        part.add_argument("--input", type=Path, required=True, metavar="DIR", help="as its publishers ship it")
        if name != "sat_mtb":
            part.add_argument(
                "--output", type=output_folder, required=True, metavar="DIR", help="folder for what is made"
            )
        add_bad_options(part, "leave out images that cannot be used, with one warning")
    for name, summary in (
        ("check", "say file by file what is missing or wrong; exit code 1 if anything is"),
        ("statistics", "count images, objects and their sizes, class by class"),
    ):
        part = command(name, summary)
        part.add_argument("dataset", metavar="NAME", help="registered data set")
        part.add_argument("--config-file", default="", metavar="FILE", help="config whose DATASETS.COCO counts too")
        if name == "check":
            add_bad_options(part, "exit code 1 only for what DATASETS.BAD skip cannot leave out")
        else:
            add_bad_options_over_config(part)
        part.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config overrides")
    part = command("foreground", "share of each image that instances cover: Table I and Fig. 1 (a) of the paper")
    part.add_argument(
        "annotations", nargs="+", metavar="[NAME=]FILE[,FILE]", help="COCO files; those of one data set share a row"
    )
    part.add_argument(
        "--output", type=output_folder, required=True, metavar="DIR", help="folder for foreground.{md,json,png}"
    )
    add_bad_options(part, "leave out annotations that are wrong")
    return parser


def prepare(args: argparse.Namespace) -> int:
    """Run one of the preparing commands."""
    if args.command == "isaid":
        done = prepare_isaid(args.input, args.output, skip_bad=args.skip_bad)
    elif args.command == "hrsid":
        done = prepare_hrsid(args.input, args.output, skip_bad=args.skip_bad)
    else:
        done = prepare_sat_mtb(args.input, skip_bad=args.skip_bad)
    for split, counts in done.items():
        made = f"{counts.pop('images')} images, {counts.pop('annotations')} annotations"
        print(f"{split}: {made}" + "".join(f"; left out {count} {reason}" for reason, count in counts.items()))
    return 0


def check(args: argparse.Namespace) -> int:
    """Print what is wrong with a data set."""
    found = check_dataset(args.dataset)
    for kind in ("fatal", "wrong", "notes"):
        for line in getattr(found, kind):
            print(f"{kind.removesuffix('s')}: {line}")
    print(
        f"{args.dataset}: {len(found.fatal)} fatal, {len(found.wrong)} wrong, {len(found.notes)} notes; "
        f"{found.images} images and {found.objects} objects can be used"
    )
    if found.fatal:
        print("docs/data.md says which files are expected where")
    return int(bool(found.fatal or (found.wrong and not args.skip_bad)))


def foreground(args: argparse.Namespace) -> int:
    """Write the table and the figure of foreground ratios."""
    sources, ratios = {}, {}
    for text in args.annotations:
        name, _, files = text.rpartition("=")
        paths = [Path(file) for file in ([files] if os.path.isfile(files) else files.split(","))]
        name = name or paths[0].stem
        if name in sources:
            raise ValueError(f"{text}: {name} is named twice; {name}=FILE,FILE makes one row of several files")
        sources[name] = paths
    for name, paths in sources.items():
        checks = [FileCheck(path, not args.skip_bad, SKIP_HINT) for path in paths]
        parts = [foreground_ratios(path, check) for path, check in zip(paths, checks)]
        for check in checks:
            if check.problems:
                print(f"warning: {check.summary()}", file=sys.stderr)
        ratios[name] = np.concatenate(parts)
    print(report_foreground(ratios, args.output), end="")
    return 0


def parse() -> argparse.Namespace:
    """The arguments; options may stand before or behind a name and between config overrides."""
    parser = arguments()
    args, rest = parser.parse_known_args()  # commands cannot use parse_intermixed_args
    if rest and ("opts" not in args or any(word.startswith("--") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.opts += rest
    return args


@reports_errors
def main() -> int:
    """Run the command."""
    args = parse()
    if args.command in ("check", "statistics"):
        bad = bad_overrides(args) if args.command == "statistics" else []  # check finds everything in any case
        register_from_config(load_config(args.config_file, ["MODEL.DEVICE", "cpu", *args.opts, *bad]))
    if args.command == "check":
        return check(args)
    if args.command == "statistics":
        print(describe_dataset(args.dataset))
        return 0
    return foreground(args) if args.command == "foreground" else prepare(args)


if __name__ == "__main__":
    sys.exit(main())
