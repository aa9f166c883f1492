"""Benchmark insight against PyTorch, torchvision and segment_anything, side by side in one process.

    python benchmarks/run.py                                     all benchmarks, on the CPU
    python benchmarks/run.py --device cuda --json today.json     on the GPU, saved to a file
    python benchmarks/run.py --only area_loss                    the benchmark bench_area_loss.py
    python benchmarks/run.py --only area_loss/forward            its cases with "forward" in their names
    python benchmarks/run.py --compare old.json --fail-if-regression 15

Columns: median time of one call; peak memory beyond inputs and result; ratio of the rival's time to ours (above 1: ours
is faster); and the target, if there is one. Contenders must agree numerically before they are timed. OMP_NUM_THREADS
sets the number of CPU threads. Exit status: 0; 1 if a case failed or a regression was found; 2 for wrong arguments.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import report
import torch
from harness import QUICK, Effort, Outcome, measure

from insight.errors import InputError
from insight.runtime.machine import describe_machine
from insight.runtime.outputs import check_output_file

FOLDER = Path(__file__).parent


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; wrong arguments end the program with one line and status 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="BENCHMARK[/CASE]", help="run benchmarks and cases whose names contain this")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument(
        "--quick", action="store_true", help="few short rounds: checks that everything runs, not how fast"
    )
    parser.add_argument("--json", metavar="FILE", help="write the outcomes to this file")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="compare the ratios with those in this file")
    parser.add_argument(
        "--fail-if-regression",
        type=float,
        nargs="?",
        const=10.0,
        metavar="PERCENT",
        help="exit with status 1 if a ratio fell by more than this (default: 10 per cent); needs --compare",
    )
    args = parser.parse_args(arguments)
    if args.fail_if_regression is not None and args.compare is None:
        parser.error("--fail-if-regression needs --compare OLD.json")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device here")
    try:
        args.json = None if args.json is None else check_output_file(args.json, "--json")
    except (InputError, OSError) as error:
        parser.error(str(error))
    try:
        args.old = report.load(args.compare) if args.compare else None
    except InputError as error:
        parser.error(f"--compare {error}")
    return args


def outcomes_of(only: str | None, device: torch.device, effort: Effort, folder: Path) -> Iterator[Outcome]:
    """Run the benchmarks of a folder whose names contain `only`, one case after the other."""
    wanted_file, _, wanted_case = (only or "").partition("/")
    for path in sorted(folder.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        if wanted_file.removeprefix("bench_").removesuffix(".py") not in name:
            continue
        try:
            for case in importlib.import_module(path.stem).cases(device):
                if wanted_case in case.name:
                    print(f"measuring {name}: {case.name}", file=sys.stderr, flush=True)
                    yield measure(name, case, device, effort)
        except Exception as error:  # a broken benchmark, or a missing package: the others still run
            yield Outcome(name, "(its cases)", error=f"{type(error).__name__}: {error}")


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Run benchmarks and print their outcomes.

    Args:
        arguments: command line; None for that of the process.
        folder: the folder of the bench_*.py files.

    Returns:
        The exit status.
    """
    args = parse(arguments)
    device = torch.device(args.device)
    machine = describe_machine(device)
    print(", ".join(f"{key} {value}" for key, value in machine.items() if value is not None), flush=True)
    outcomes = []
    for outcome in outcomes_of(args.only, device, QUICK if args.quick else Effort(), folder):
        outcomes.append(outcome)
        print(report.table([outcome]), flush=True)
    if not outcomes:
        print(f"--only {args.only}: no benchmark matches", file=sys.stderr)
        return 2
    if args.json:
        report.save(args.json, machine, outcomes)
    failed = any(outcome.error for outcome in outcomes)
    if args.old:
        old_machine, old_outcomes = args.old
        changes = report.compare(old_outcomes, outcomes)
        print(f"\nratios in {args.compare} ({old_machine.get('date')}, commit {old_machine.get('commit')}) and now:")
        print(report.comparison(changes) or "the two runs have no case in common")
        for key in ("device", "cpu", "gpu", "threads"):
            if old_machine.get(key) != machine[key]:
                print(f"note: {key} was {old_machine.get(key)}, is {machine[key]}, which alone may change ratios")
        if args.fail_if_regression is not None:
            lost = [change for change in changes if change.percent < -args.fail_if_regression]
            print(f"{len(lost)} of {len(changes)} ratios fell by more than {args.fail_if_regression:g} %")
            failed = failed or bool(lost)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
