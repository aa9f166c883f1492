"""The options --strict and --skip-bad, which every command has that reads annotations. Needs no Detectron2."""

import argparse

SKIP_HINT = "--skip-bad leaves out what is wrong"


def add_bad_options(
    parser: argparse.ArgumentParser,
    skip: str = "leave out images and annotations that are wrong, with one warning",
    default: str = "default",
) -> None:
    """Add --strict and --skip-bad, of which one may be given.

    Args:
        parser: of the command.
        skip: what --skip-bad does.
        default: when --strict holds without being given.
    """
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--strict", action="store_true", help=f"stop at what is wrong ({default})")
    choice.add_argument("--skip-bad", action="store_true", help=skip)


def add_bad_options_over_config(parser: argparse.ArgumentParser) -> None:
    """Add them to a command that has a config, whose DATASETS.BAD they replace.

    Args:
        parser: of the command.
    """
    add_bad_options(parser, default="default: as DATASETS.BAD says, which is strict unless set")


def bad_overrides(args: argparse.Namespace) -> list[str]:
    """What the two options mean as config overrides, to stand behind all others.

    Args:
        args: with `strict` and `skip_bad`.

    Returns:
        DATASETS.BAD and its value; nothing if neither was given.
    """
    if args.skip_bad:
        return ["DATASETS.BAD", "skip"]
    return ["DATASETS.BAD", "strict"] if args.strict else []
