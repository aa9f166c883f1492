"""`insight install-detectron2`."""

import argparse

from .options import add_command


def add_parser(commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "install-detectron2",
        run,
        "Install Detectron2's Python part into this environment, unless Detectron2 imports already",
        ["install-detectron2"],
        "For machines that cannot install Detectron2 from GitHub; docs/install.md names both ways.",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from insight.runtime.detectron2_install import install

    print("Detectron2 is installed (its Python part)" if install() else "Detectron2 is installed already")
