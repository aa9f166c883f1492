"""`insight bench`."""

import argparse
import subprocess
import sys
from pathlib import Path

from insight.errors import InputError

_PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"


def add_parser(commands) -> None:
    """Add the command, whose options are those of benchmarks/run.py."""
    summary = "measure the kernels and the models against PyTorch (in a checkout of the repository)"
    parser = commands.add_parser("bench", help=summary, add_help=False)
    parser.set_defaults(run=run, parser=parser)
    parser.forwards = True


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if not _PROGRAM.is_file():
        raise InputError(
            f"{_PROGRAM}: no such file; benchmarks/ comes with the repository, not with the installed package"
        )
    return subprocess.call([sys.executable, str(_PROGRAM), *args.words])
