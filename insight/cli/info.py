"""`insight info`."""

import argparse

from .options import add_command


def add_parser(commands) -> None:
    """Add the command."""
    add_command(commands, "info", run, "Print versions, hardware and compiled operators, for bug reports", ["info"])


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from insight.info import main

    main()
