"""Options that several commands share."""

import argparse
from collections.abc import Callable, Sequence

from .parser import Parser

DEVICES = "cpu, cuda or cuda:N"
_LARGEST = 2**31 - 1  # largest int of compiled code


def add_command(
    commands: argparse._SubParsersAction,
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    summary: str,
    examples: Sequence[str],
    details: str = "",
) -> Parser:
    """Add a command to a group.

    Args:
        commands: the group, from `add_subparsers`.
        name: what is typed.
        run: runs the command; returns the exit code, None for 0.
        summary: one sentence without its full stop.
        examples: command lines, without "insight".
        details: further lines of the description.

    Returns:
        The command's parser.
    """
    shown = "\n".join(f"  insight {example}" for example in examples)
    parser = commands.add_parser(
        name,
        help=summary[0].lower() + summary[1:],
        description=f"{summary}." + (f"\n{details}" if details else ""),
        epilog=f"examples:\n{shown}",
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def integer(least: int, largest: int = _LARGEST) -> Callable[[str], int]:
    """Return an argparse type: integers in a range, both ends included."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= largest:
            most = "" if largest == _LARGEST and value < least else f" to {largest}"
            raise argparse.ArgumentTypeError(f"expected an integer from {least}{most}, got {text}")
        return value

    return parse


def add_config(group: argparse._ActionsContainer, required: bool, purpose: str = "model") -> None:
    """Add --config-file."""
    group.add_argument(
        "--config-file",
        nargs="+",
        default=[],
        required=required,
        metavar="NAME",
        help=f"config of the {purpose}: YAML files or names of shipped configs, merged from left to right",
    )


def add_weights(group: argparse._ActionsContainer, default: str = "MODEL.WEIGHTS of the config") -> None:
    """Add --weights."""
    group.add_argument("--weights", default="", metavar="FILE", help=f"checkpoint (default: {default})")


def add_device(group: argparse._ActionsContainer, default: str = "MODEL.DEVICE of the config") -> None:
    """Add --device."""
    group.add_argument("--device", default="", metavar="NAME", help=f"{DEVICES} (default: {default})")


def add_overrides(parser: Parser) -> None:
    """Add the config overrides at the end of the command line."""
    parser.add_argument(
        "opts", nargs="*", default=[], metavar="KEY VALUE", help="config overrides, such as SOLVER.MAX_ITER 480"
    )


def add_bad_options(
    parser: Parser,
    skip: str = "leave out bad images and annotations, with one warning",
    default: str = "default",
) -> None:
    """Add --strict and --skip-bad, which exclude each other.

    Args:
        parser: parser of the command.
        skip: what --skip-bad does.
        default: when --strict holds without being given.
    """
    choice = parser.add_argument_group("bad data").add_mutually_exclusive_group()
    choice.add_argument("--strict", action="store_true", help=f"stop at bad data ({default})")
    choice.add_argument("--skip-bad", action="store_true", help=skip)


def add_bad_options_over_config(parser: Parser) -> None:
    """Add --strict and --skip-bad, which override DATASETS.BAD, to a command with a config."""
    add_bad_options(parser, default="default: DATASETS.BAD of the config, which is strict unless set")


def overrides_of(args: argparse.Namespace) -> list[str]:
    """Return the config overrides of a command line: its KEY VALUE pairs, then those of the shared options."""
    overrides = list(map(str, args.opts))
    if getattr(args, "weights", ""):
        overrides += ["MODEL.WEIGHTS", args.weights]
    if getattr(args, "device", ""):
        from insight.runtime.machine import parse_device

        overrides += ["MODEL.DEVICE", str(parse_device(args.device))]
    if getattr(args, "skip_bad", False):
        overrides += ["DATASETS.BAD", "skip"]
    if getattr(args, "strict", False):
        overrides += ["DATASETS.BAD", "strict"]
    return overrides


def config_of(args: argparse.Namespace, more: Sequence[str] = ()):
    """Return the frozen config of a command line with further overrides, and register its datasets."""
    from insight.config import load_config
    from insight.data.datasets import register_from_config

    cfg = load_config(args.config_file, [*overrides_of(args), *more])
    register_from_config(cfg)
    return cfg
