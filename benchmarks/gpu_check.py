"""Check everything that needs a GPU, in ten minutes, and write one report.

    make gpu-check                                                 build and check everything
    python benchmarks/gpu_check.py --only kernels,prompts          some of the parts
    python benchmarks/gpu_check.py --dry-run                       print the plan, without a GPU

Every part runs in a process of its own with a time limit: a part that fails, crashes or runs out of time is recorded
with its error, and the others still run. The report is written after each part, as report.json and report.md in the
output folder, beside the log of each part. Exit status: 0; 1 if a part did not pass; 2 for wrong arguments.
"""

import argparse
import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from report import bytes_text, seconds_text

from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.runtime.machine import describe_machine
from insight.runtime.outputs import check_output_folder

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
PASSED, FAILED, TIMED_OUT, PLANNED = "passed", "failed", "timed out", "planned"


class PartError(Exception):
    """A part that does not pass: one line that says why, and what it measured nevertheless."""

    def __init__(self, message: str, result: dict | None = None):
        super().__init__(message)
        self.result = result or {}


@dataclass(frozen=True)
class Part:
    """One independent part of the check.

    Args:
        name: for --only, and for the names of its files.
        title: what it does.
        seconds: its time limit.
        command: the command line, given the file to which it writes its result; a PartError says why there is none.
        read: the result as a dict, given that file and the text of the log; a PartError says why it does not pass.
        environment: added to the environment of the command.
    """

    name: str
    title: str
    seconds: float
    command: Callable[[Path], list[str]]
    read: Callable[[Path, str], dict]
    environment: tuple[tuple[str, str], ...] = ()


@dataclass
class Outcome:
    """What became of a part.

    Args:
        name, title: those of the part.
        status: PASSED, FAILED, TIMED_OUT or PLANNED.
        seconds: how long it ran; its time limit, if it is planned.
        command: the command line.
        result: what the part measured, also in part if it did not pass.
        error: one line, empty if it passed.
        log: the last lines of its output, empty if it passed.
    """

    name: str
    title: str
    status: str
    seconds: float
    command: list[str]
    result: dict
    error: str = ""
    log: str = ""


def read_json(path: Path, log: str) -> dict:
    """The result of a part that writes JSON."""
    if not path.is_file():
        raise PartError("no result was written")
    return json.loads(path.read_text())


def read_build(path: Path, log: str) -> dict:
    """What the library was built with; it must have CUDA kernels."""
    record = ROOT / "insight" / "_build.json"
    built = json.loads(record.read_text()) if record.is_file() else {}
    if "cuda" not in built.get("backends", ()):
        raise PartError("the library was built without CUDA kernels")
    return built


def read_tests(path: Path, log: str) -> dict:
    """Counts from pytest's XML report; at least one test must have run, and none failed."""
    if not path.is_file():
        raise PartError("pytest wrote no report")
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = sum(c.find("skipped") is not None for c in cases)
    names = [f"{c.get('classname')}::{c.get('name')}" for c in failed]
    result = {"passed": len(cases) - len(failed) - skipped, "skipped": skipped, "failed": names}
    if names:
        raise PartError(f"{len(names)} of {len(cases)} tests failed, the first is {names[0]}", result)
    if not result["passed"]:
        raise PartError("no test ran", result)
    return result


def read_sanitizer(path: Path, log: str) -> dict:
    """The number of errors from the summary of compute-sanitizer, which must be 0."""
    found = re.search(r"ERROR SUMMARY: (\d+) error", log) or re.search(r"RACECHECK SUMMARY: (\d+) hazard", log)
    if found is None:
        raise PartError("compute-sanitizer printed no summary")
    result = {"errors": int(found[1])}
    if result["errors"]:
        raise PartError(f"compute-sanitizer reports {found[1]} errors", result)
    return result


def read_kernels(path: Path, log: str) -> dict:
    """Measured cases; none may have failed."""
    result = read_json(path, log)
    failed = [case for case in result["cases"] if case["error"]]
    if failed:
        raise PartError(f"{failed[0]['benchmark']}, {failed[0]['case']}: {failed[0]['error']}", result)
    return result


def read_training(path: Path, log: str) -> dict:
    """Losses of each run; all must be finite, that is not None."""
    result = read_json(path, log)
    for run in result["runs"]:
        if None in run["losses"]:
            raise PartError(f"{run['name']}: a loss is not finite", result)
    return result


def sanitizer(tool: str) -> Callable[[Path], list[str]]:
    """The command that runs all operators on small shapes under a tool of compute-sanitizer."""

    def command(path: Path) -> list[str]:
        home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
        program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=f"{home}/bin")
        if program is None:
            raise PartError(f"compute-sanitizer: not found on PATH or in {home}/bin; it comes with the CUDA toolkit")
        options = ["--tool", tool, "--kernel-regex", "kns=insight", "--error-exitcode", "1"]
        return [program, *options, *measured("small_shapes")(path)]

    return command


def measured(name: str) -> Callable[[Path], list[str]]:
    """The command of a part in gpu_parts.py."""
    return lambda path: [sys.executable, str(FOLDER / "gpu_parts.py"), name, str(path)]


# Without torch's cache every tensor is an allocation of its own, whose bounds memcheck knows.
NO_CACHE = (("PYTORCH_NO_CUDA_MEMORY_CACHING", "1"),)
PARTS = (
    Part(
        "build",
        "Build with CUDA kernels for the GPUs here",
        150,
        lambda path: [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        read_build,
        (("FORCE_CUDA", "1"),),
    ),
    Part(
        "tests",
        "Tests that need a GPU",
        90,
        lambda path: [sys.executable, "-m", "pytest", "-q", "-m", "gpu", f"--junitxml={path}"],
        read_tests,
    ),
    Part(
        "memcheck",
        "Operators under compute-sanitizer memcheck",
        60,
        sanitizer("memcheck"),
        read_sanitizer,
        NO_CACHE,
    ),
    Part("racecheck", "Operators under compute-sanitizer racecheck", 60, sanitizer("racecheck"), read_sanitizer),
    Part(
        "kernels",
        "Operators against SDPA, roi_align, grid_sample and others",
        90,
        measured("kernels"),
        read_kernels,
    ),
    Part(
        "training",
        "Fifty training steps on the GPU, in float32 and AMP, and on the CPU",
        120,
        measured("training"),
        read_training,
    ),
    Part("prompts", "Latency of box prompts", 30, measured("prompts"), read_kernels),
)
TOTAL_SECONDS = sum(part.seconds for part in PARTS)


def run_part(part: Part, folder: Path, limit: float) -> Outcome:
    """Run one part, and whatever happens in it, return its outcome.

    Args:
        part: the part.
        folder: receives its log and its result.
        limit: seconds after which it is killed, with the processes it started.

    Returns:
        The outcome; PASSED if the command exits with 0 and its result passes.
    """
    path, log = folder / f"{part.name}.result", folder / f"{part.name}.log"
    path.unlink(missing_ok=True)
    outcome = Outcome(part.name, part.title, FAILED, 0.0, [], {})
    begin = time.monotonic()
    try:
        outcome.command = part.command(path)
        code = _run(outcome.command, dict(part.environment), log, limit)
    except (PartError, OSError) as error:
        outcome.error = str(error)
        return outcome
    outcome.seconds = time.monotonic() - begin
    text = log.read_text(errors="replace")
    try:
        outcome.result = part.read(path, text)
    except PartError as error:
        outcome.error, outcome.result = str(error), error.result
    except Exception as error:  # a result that a crash left damaged
        outcome.error = f"its result cannot be read ({type(error).__name__}: {error})"
    if code is None:
        outcome.status, outcome.error = TIMED_OUT, f"stopped after {limit:.0f} s"
    elif code != 0:
        outcome.error = outcome.error or f"exit status {code}"
    elif not outcome.error:
        outcome.status = PASSED
    if outcome.status != PASSED:
        outcome.log = "\n".join(text.splitlines()[-20:])
    return outcome


def _run(command: list[str], environment: dict[str, str], log: Path, limit: float) -> int | None:
    """The exit status of a command, None if it was killed at the limit."""
    paths = [str(ROOT), str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:  # also after Ctrl-C, and for what a command leaves running
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def deadlines(parts: Sequence[Part], total: float) -> list[float]:
    """When each part must have ended, in seconds from the start: time that a part saves is left to the next ones."""
    scale = total / sum(part.seconds for part in parts)
    return list(itertools.accumulate(part.seconds * scale for part in parts))


def run_parts(
    parts: Sequence[Part], folder: Path, total: float, finished: Callable[[list[Outcome]], None]
) -> list[Outcome]:
    """Run parts one after the other.

    Args:
        parts: the parts.
        folder: receives logs and results.
        total: seconds for all of them; their time limits are scaled to it.
        finished: called with the outcomes so far, after each part.

    Returns:
        The outcomes.
    """
    outcomes: list[Outcome] = []
    begin = time.monotonic()
    for part, deadline in zip(parts, deadlines(parts, total)):
        outcomes.append(run_part(part, folder, begin + deadline - time.monotonic()))
        finished(outcomes)
    return outcomes


def plan(parts: Sequence[Part], folder: Path, total: float) -> list[Outcome]:
    """The outcomes of a dry run: the commands and time limits of the parts, which are not run."""
    outcomes = []
    scale = total / sum(part.seconds for part in parts)
    for part in parts:
        outcome = Outcome(part.name, part.title, PLANNED, part.seconds * scale, [], {})
        try:
            outcome.command = part.command(folder / f"{part.name}.result")
        except PartError as error:
            outcome.error = str(error)
        outcomes.append(outcome)
    return outcomes


def describe() -> dict:
    """GPU, driver, software, commit and date."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = describe_machine(device) | {"cuda": torch.version.cuda, "driver": None}
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        machine |= {"gpu_memory": gpu.total_memory, "compute_capability": f"{gpu.major}.{gpu.minor}"}
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
        machine["driver"] = lines[0] if lines else None
    return machine


def write_report(folder: Path, machine: dict, outcomes: Sequence[Outcome]) -> None:
    """Write report.json and report.md; each is complete or absent."""
    with atomic_write(folder / "report.json") as file:
        file.write(json.dumps({"machine": machine, "parts": [asdict(o) for o in outcomes]}, indent=1) + "\n")
    with atomic_write(folder / "report.md") as file:
        file.write(markdown(machine, outcomes))


def markdown(machine: dict, outcomes: Sequence[Outcome]) -> str:
    """The report for a reader.

    Args:
        machine: the output of `describe`.
        outcomes: of the parts, finished or planned.

    Returns:
        A Markdown document.
    """
    bad = [o.name for o in outcomes if o.status not in (PASSED, PLANNED)]
    planned = any(o.status == PLANNED for o in outcomes)
    verdict = "plan" if planned else f"not passed: {', '.join(bad)}" if bad else "passed"
    lines = [f"# GPU check: {verdict}", ""]
    lines += table(["", ""], [[key, value] for key, value in machine.items() if value is not None])
    rows = [[o.name, o.title, o.status, f"{o.seconds:.0f} s", summary(o)] for o in outcomes]
    lines += table(["part", "", "status", "limit" if planned else "time", "result"], rows)
    for outcome in outcomes:
        section = SECTIONS.get(outcome.name)
        if section is not None and outcome.result:
            lines += [f"## {outcome.title}", "", *section(outcome.result)]
    for outcome in outcomes:
        if outcome.status != PASSED and outcome.command:
            title = "Command" if outcome.status == PLANNED else "Output"
            lines += [f"## {title} of {outcome.name}", "", "```", shlex.join(outcome.command), outcome.log, "```", ""]
    return "\n".join(lines)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table, and an empty line."""
    text = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in (head, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in text]
    return [lines[0], "|" + "---|" * len(head), *lines[1:], ""]


def summary(outcome: Outcome) -> str:
    """A part in a few words."""
    if outcome.error:
        return outcome.error
    result = outcome.result
    if outcome.name == "build":
        return f"{', '.join(result['backends'])}; architectures {result['cuda_archs']}" if result else ""
    if "passed" in result:
        return f"{result['passed']} passed, {result['skipped']} skipped"
    if "errors" in result:
        return f"{result['errors']} errors"
    if "cases" in result:
        return f"{len(result['cases'])} cases"
    return ""


def kernels_section(result: dict) -> list[str]:
    """Times, ratios to each rival, and the share of the GPU's limits."""
    lines = []
    limits = result.get("limits", {})
    if limits:
        rates = [f"{rate / 1e12:.1f} TFLOP/s {name}" for name, rate in limits["matrix_rates"].items()]
        copy = f"{limits['copy_bandwidth'] / 1e12:.2f} TB/s copy"
        lines += [f"Limits measured here: {', '.join([copy, *rates])}.", ""]
    rows = []
    for case in result["cases"]:
        ours = case["contenders"].get("ours")
        if ours is None:
            rows.append([f"{case['benchmark']}: {case['case']}", "failed", "", case["error"], "", ""])
            continue
        rivals = [f"{name} {m['ratio']:.2f}x" for name, m in case["contenders"].items() if name != "ours"]
        shares = [f"{case[key]:.0%}" if case.get(key) is not None else "" for key in ("copy_share", "matrix_share")]
        memory = bytes_text(ours["memory"])
        rows.append([f"{case['benchmark']}: {case['case']}", seconds_text(ours["seconds"]), memory, ", ".join(rivals)])
        rows[-1] += shares
    head = ["case", "time", "memory", "time of others / ours", "of copy bandwidth", "of matrix rate"]
    return lines + table(head, rows)


def prompts_section(result: dict) -> list[str]:
    """Time of a call, and for one prompt."""
    rows = []
    for case in result["cases"]:
        ours = case["contenders"].get("ours")
        if ours is None:
            rows.append([case["case"], "failed", case["error"]])
        else:
            rows.append([case["case"], seconds_text(ours["seconds"]), seconds_text(ours["seconds"] / case["prompts"])])
    return table(["case", "call", "per prompt"], rows)


def training_section(result: dict) -> list[str]:
    """Losses side by side at a few steps."""
    runs = result["runs"]
    steps = max((len(run["losses"]) for run in runs), default=0)
    shown = sorted({step for step in (1, 2, 5, 10, 20, 30, 40, 50) if step <= steps} | ({steps} if steps else set()))
    rows = []
    for step in shown:
        rows.append([step, *(_loss(run["losses"][step - 1 : step]) for run in runs)])
    times = [run["seconds_per_step"] for run in runs]
    rows.append(["seconds per step", *("" if seconds is None else f"{seconds:.3f}" for seconds in times)])
    note = "Losses of a step differ between devices by the random numbers that sample proposals."
    return [*table(["step", *(run["name"] for run in runs)], rows), note, ""]


def _loss(found: list[float | None]) -> str:
    return "" if not found else "not finite" if found[0] is None else f"{found[0]:.4f}"


SECTIONS = {"kernels": kernels_section, "training": training_section, "prompts": prompts_section}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; wrong arguments end the program with one line and status 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [part.name for part in PARTS]
    parser.add_argument("--output", default="output/gpu_check", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=TOTAL_SECONDS / 60, help="total time; default: %(default)g")
    parser.add_argument("--only", metavar="PARTS", help=f"comma-separated: {', '.join(names)}")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and write it as a report; needs no GPU")
    args = parser.parse_args(arguments)
    wanted = names if args.only is None else args.only.split(",")
    for name in wanted:
        if name not in names:
            parser.error(f"--only {name}: expected some of {', '.join(names)}")
    args.parts = [part for part in PARTS if part.name in wanted]
    if not args.minutes > 0:
        parser.error(f"--minutes: expected a number above 0, got {args.minutes:g}")
    if not args.dry_run and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device; --dry-run shows the plan without one")
    try:
        args.output = check_output_folder(args.output, "--output")
    except (InputError, OSError) as error:
        parser.error(str(error))
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check.

    Args:
        arguments: command line; None for that of the process.

    Returns:
        The exit status.
    """
    args = parse(arguments)
    folder = args.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    machine = describe()
    if args.dry_run:
        outcomes = plan(args.parts, folder, 60 * args.minutes)
        write_report(folder, machine, outcomes)
        print(markdown(machine, outcomes))
        return 0

    def finished(outcomes: list[Outcome]) -> None:
        last = outcomes[-1]
        print(f"{last.name:<10} {last.status:<10} {last.seconds:>6.1f} s   {summary(last)}", flush=True)
        write_report(folder, machine, outcomes)

    outcomes = run_parts(args.parts, folder, 60 * args.minutes, finished)
    print(f"{folder / 'report.md'}, {folder / 'report.json'}")
    return int(any(outcome.status != PASSED for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
