#!/usr/bin/env python
"""Make a table: do the runs that it lacks and write it as Markdown, JSON and PNG; after a kill, repeat to go on."""

import argparse
import dataclasses
import shlex
import sys

from insight.cli.reporting import reports_errors
from insight.data.bad_options import add_bad_options_over_config, bad_overrides
from insight.engine.launch import check_num_gpus
from insight.runtime.outputs import output_folder
from insight.tables import make_table, read_table, table_setups


def arguments() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: make_table.py iai_2 --setup nwpu; the same command goes on after a kill",
    )
    parser.add_argument(
        "table", metavar="TABLE", help="name of a table of docs/tables.md, or a file that describes one"
    )
    parser.add_argument(
        "--setup",
        default="",
        metavar="NAME",
        help="setup of the table, or all; may be left out where there is only one",
    )
    parser.add_argument(
        "--output",
        type=output_folder,
        default="output/tables",
        metavar="DIR",
        help="runs and results; tables share them (%(default)s)",
    )
    parser.add_argument("--seeds", metavar="K,K", help="instead of those that the file names")
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="to train with (default: %(default)s)")
    add_bad_options_over_config(parser)
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config values, for every row")
    return parser


def parse_seeds(text: str) -> tuple[int, ...]:
    """The whole numbers of "1,2"."""
    if not all(part.isdecimal() for part in text.split(",")):
        raise ValueError(f"--seeds {text}: expected whole numbers, as in 1,2")
    return tuple(dict.fromkeys(map(int, text.split(","))))


@reports_errors
def main() -> int:
    """Run the command."""
    args = arguments().parse_intermixed_args()
    check_num_gpus(args.num_gpus)
    setups = table_setups(args.table) if args.setup == "all" else [args.setup]
    tables = [read_table(args.table, setup) for setup in setups or [""]]
    if args.seeds is not None:
        tables = [dataclasses.replace(table, seeds=parse_seeds(args.seeds)) for table in tables]
    command = shlex.join(["python", "tools/make_table.py", *sys.argv[1:]])
    overrides = [*args.opts, *bad_overrides(args)]
    failed = False
    for table in tables:
        paths, failures = make_table(table, args.output, command, overrides, args.num_gpus)
        print(paths[0].read_text(encoding="utf-8"))
        print(f"wrote {', '.join(map(str, paths))}")
        for label, reason in failures.items():
            print(f"error: {label}: {reason}", file=sys.stderr)
        failed = failed or bool(failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
