"""The command `insight`."""

import sys
from collections.abc import Sequence

from insight.version import __version__

from .parser import Parser
from .reporting import report_errors


def build_parser() -> Parser:
    """Build the parser of all commands. Nothing heavy is imported: a command imports what it needs when it runs."""
    from . import (
        analyse,
        annotate,
        bench,
        compare,
        convert,
        cvat,
        data,
        demo,
        evaluate,
        info,
        install_detectron2,
        map,
        measure,
        models,
        plot,
        predict,
        serve,
        table,
        train,
    )

    parser = Parser(
        prog="insight",
        description="Promptable instance segmentation of remote sensing images: train, evaluate, predict, annotate.",
        epilog="`insight COMMAND --help` describes a command and gives examples.",
    )
    parser.add_argument("--version", action="version", version=f"insight {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for module in (
        *(train, evaluate, predict, annotate, convert, cvat, map, serve, models, data, table, analyse, compare),
        *(measure, plot, demo, info, bench, install_detectron2),
    ):
        module.add_parser(commands)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        words: the command line; None for that of the process.

    Returns:
        The exit code, see `insight.cli.reporting.report_errors`.
    """
    return report_errors(lambda: _run(sys.argv[1:] if words is None else list(words)))


def _run(words: Sequence[str]) -> int:
    args = build_parser().parse(words)
    typed = {word.rstrip("/") for word in words}  # "images: ..." may be about a folder of that name
    flags = {name: flag for name, flag in args.parser.flags.items() if name not in typed}
    starts_over = any(getattr(args, name) for name in args.parser.starts_over_with)
    return report_errors(lambda: args.run(args), flags, "" if starts_over else args.parser.continues)
