"""Options that several commands share."""

import argparse
from collections.abc import Callable, Sequence

from insight.errors import InputError
from insight.runtime.inputs import check_input
from insight.runtime.machine import check_device_name

from .parser import Parser

DEVICES = "cpu, cuda or cuda:N"
SAME_COMMAND = "run the same command to resume"  # `Parser.continues` of commands that keep finished work
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


def integer(least: int, largest: int = _LARGEST, step: int = 1) -> Callable[[str], int]:
    """Return an argparse type: integers in a range, both ends included; with a step, its multiples."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= largest or value % step:
            most = "" if largest == _LARGEST and value < least else f" to {largest}"
            expected = f"an integer from {least}{most}" if step == 1 else f"a multiple of {step} up to {largest}"
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text}")
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


def add_weights(group: argparse._ActionsContainer) -> None:
    """Add --weights."""
    group.add_argument(
        "--weights", default="", metavar="FILE", help="checkpoint (default: MODEL.WEIGHTS of the config)"
    )


def add_device(group: argparse._ActionsContainer, default: str = "MODEL.DEVICE of the config") -> None:
    """Add --device."""
    group.add_argument("--device", default="", metavar="NAME", help=f"{DEVICES} (default: {default})")


def add_model(group: argparse._ActionsContainer, default: str = "") -> None:
    """Add --model, and in its place --config-file and --weights; and --device."""
    group.add_argument(
        "--model",
        default="",
        metavar="NAME",
        help="name or folder of a model, see `insight models`" + (f" (default: {default})" if default else ""),
    )
    add_config(group, required=False, purpose="model, instead of --model")
    add_weights(group)
    add_device(group, "cuda if there is a GPU; MODEL.DEVICE of the config")


def chosen_model(args: argparse.Namespace, default: str | None = None, needs_config: bool = True):
    """Return the model folder that a command line names, or None if it names a config or a checkpoint instead.

    Args:
        args: the arguments; with `model`, `weights` and perhaps `config_file`.
        default: name of the model where neither is given; None for an error.
        needs_config: whether a checkpoint needs its config; those of SAM and SOPSeg do not.
    """
    from insight.hub import find

    others = [name for name in ("config_file", "weights") if getattr(args, name, None)]
    if args.model and others:
        raise InputError(f"model: not allowed together with {others[0]}, which names another model")
    if others == ["weights"] and hasattr(args, "config_file") and needs_config:
        raise InputError("weights: expected the config that the checkpoint was trained with as well, as --config-file")
    if others:
        return None
    if not args.model and default is None:
        raise InputError("model: expected the name or folder of a model, or a config_file with weights, got neither")
    return find(args.model or default)


def check_model(
    args: argparse.Namespace, default: str | None = None, kind: str | None = None, needs_config: bool = True
) -> None:
    """Check what a command line says of the model: its name, or its config files and checkpoint; and the device.

    Args:
        args: the arguments, those of `add_model` or some of them.
        default, needs_config: as in `chosen_model`.
        kind: "sopseg" or "detector", if only such a model will do.
    """
    from insight.config.files import read_files

    model = chosen_model(args, default, needs_config) if hasattr(args, "model") else None
    if model is not None and kind is not None:
        model.require_kind(kind)
    read_files(getattr(args, "config_file", ()))
    check_checkpoint(getattr(args, "weights", ""), "weights")
    check_device_name(args.device)


def check_checkpoint(path: str | None, argument: str = "") -> None:
    """Check that a checkpoint exists, unless none is named or its name is a URL."""
    if path and "://" not in path:
        check_input(path.partition("?")[0], argument, "checkpoint")  # without Detectron2's queries


def weight_file(name: str) -> str:
    """Return the weight file that a name means: the file itself, a URL, or the weights of the model of this name."""
    from insight.hub import find
    from insight.hub.finding import is_weight_file

    if not name or "://" in name or is_weight_file(name.partition("?")[0]):  # without Detectron2's queries
        return name
    return str(find(name).weights)


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

    cfg = load_config(args.config_file, [*overrides_of(args), *more], start_of(args))

    from insight.data.datasets import register_from_config

    register_from_config(cfg)
    return cfg


def start_of(args: argparse.Namespace):
    """Return the config of the model that --model names, for `load_config`; None for a command line without one."""
    if not hasattr(args, "model"):
        return None
    from insight.hub.configs import config_part

    model = chosen_model(args)
    return None if model is None else config_part(model)
