"""`insight install-detectron2`."""

import argparse

from .options import add_command


def add_parser(commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "install-detectron2",
        run,
        "Install the Python part of Detectron2 into this environment, unless Detectron2 is installed",
        ("install-detectron2",),
        "It comes from a package on PyPI; docs/install.md has other ways. Nothing is compiled.",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from insight.runtime.detectron2_install import install

    print("Detectron2 is installed (its Python part)" if install() else "Detectron2 is already installed")
