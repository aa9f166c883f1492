"""`insight table`."""

import argparse
import dataclasses
import shlex

from insight.errors import InputError
from insight.runtime.outputs import check_output_folder

from .options import SAME_COMMAND, add_bad_options_over_config, add_command, add_overrides, integer, overrides_of
from .reporting import print_error


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "table",
        run,
        "Make a table of results: complete its runs, and write it as Markdown, JSON and PNG",
        (
            "table iai_2 --setup nwpu",
            "table iai_2 --setup nwpu --seeds 1 MODEL.DEVICE cpu",
        ),
        "After an interruption, the same command resumes. Tables with the same --output share their runs.",
    )
    parser.continues = SAME_COMMAND
    parser.add_argument("table", metavar="TABLE", help="name of a table of the papers, such as iai_2, or a YAML file")
    parser.add_argument(
        "--setup", default="", metavar="NAME", help="setup of the table, or all (default: its only one)"
    )
    parser.add_argument(
        "--output", default="output/tables", metavar="DIR", help="folder for runs and tables (default: %(default)s)"
    )
    parser.add_argument("--seeds", metavar="K,K", help="seeds of the runs (default: those of the table)")
    parser.add_argument(
        "--num-gpus", type=integer(1), default=1, metavar="N", help="GPUs per training run (default: %(default)s)"
    )
    add_bad_options_over_config(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from insight.tables import read_table, table_setups

    output = check_output_folder(args.output)
    seeds = None if args.seeds is None else _seeds(args.seeds)
    setups = table_setups(args.table) if args.setup == "all" else ()
    tables = [read_table(args.table, setup) for setup in setups or [args.setup]]

    from insight.engine.launch import check_num_gpus
    from insight.tables.make import make_table

    check_num_gpus(args.num_gpus)
    failed = False
    for table in tables:
        if seeds is not None:
            table = dataclasses.replace(table, seeds=seeds)
        paths, failures = make_table(table, output, _command(args), overrides_of(args), args.num_gpus)
        print(paths[0].read_text(encoding="utf-8"))
        print(f"wrote {', '.join(map(str, paths))}")
        for label, reason in failures.items():
            print_error(f"{label}: {reason}")
        failed = failed or bool(failures)
    return int(failed)


def _seeds(text: str) -> tuple[int, ...]:
    """Parse "1,2"."""
    if not all(part.isdecimal() for part in text.split(",")):
        raise InputError(f"seeds: expected integers, as in 1,2, got {text!r}")
    return tuple(dict.fromkeys(map(int, text.split(","))))


def _command(args: argparse.Namespace) -> str:
    """The command line, for the reader of the table."""
    options = ["--setup", args.setup] if args.setup else []
    options += [] if args.seeds is None else ["--seeds", args.seeds]
    options += [] if args.num_gpus == 1 else ["--num-gpus", str(args.num_gpus)]
    options += [f"--{name.replace('_', '-')}" for name in ("strict", "skip_bad") if getattr(args, name)]
    return shlex.join(["insight", "table", args.table, "--output", args.output, *options, *map(str, args.opts)])
