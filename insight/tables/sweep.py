"""Doing the runs that a table lacks, one after the other."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from insight.engine.results import CONFIG
from insight.runtime.locks import locked
from insight.runtime.progress import Progress

from .child import child
from .runs import STEPS, Run

OUTPUT = "output.txt"  # in a run's folder: what its command printed


@dataclass(frozen=True)
class Job:
    """A command that brings a run further.

    Args:
        label: what it does, for a person.
        command: program and arguments.
        log: gets what it prints.
        folder: of the run.
        iterations: of training; 0 where nothing is trained.
    """

    label: str
    command: list[str]
    log: Path
    folder: Path
    iterations: int = 0


def next_job(run: Run, num_gpus: int = 1) -> Job | None:
    """What a run still lacks first.

    Args:
        run: the run.
        num_gpus: to train with.

    Returns:
        Its training, or the first step that was not done; None where it has all.

    Raises:
        ValueError: its folder holds another run.
    """
    if run.trained() is None:
        mode = ["evaluate"] if run.row.eval_only else ["train", "--resume"]
        arguments = [*mode, "--config-file", str(run.row.config), "--num-gpus", str(num_gpus), *run.overrides]
        iterations = 0 if run.row.eval_only else run.cfg.SOLVER.MAX_ITER
        return Job(run.label, _command(arguments), run.folder / OUTPUT, run.folder, iterations)
    for step in run.steps:
        if run.step_results(step) is None:
            arguments = ["measure", STEPS[step], "--config-file", str(run.folder / CONFIG)]
            arguments += ["--output", str(run.folder / f"{step}.json")]
            if not run.row.eval_only:
                arguments += ["--weights", str(run.folder / "model_final.pth")]
            label = f"{run.label}: measure {STEPS[step]}"
            return Job(label, _command(arguments), run.folder / f"{step}.txt", run.folder)
    return None


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "insight", *arguments]


def do_runs(runs: Sequence[Run], after_each: Callable[[], None], num_gpus: int = 1) -> dict[str, str]:
    """Do what the runs lack, with a progress bar. A run that fails is left, and the others go on.

    A run that another process is at work on is left to it, so the same command may be started several times.

    Args:
        runs: in the order to do them in.
        after_each: called whenever a run has come further.
        num_gpus: to train with.

    Returns:
        By the label of what failed or is left to others, why.

    Raises:
        ValueError: the folder of a run holds another run; nothing was started then.
        OSError: of `locked`, other than that another process holds a run.
    """
    lacking = [(run, job) for run in runs if (job := next_job(run, num_gpus)) is not None]
    total = sum(job.iterations for _, job in lacking)
    print(f"{len(runs) - len(lacking)} of {len(runs)} runs are there, {len(lacking)} to do", file=sys.stderr)
    failures = {}
    with Progress(total, unit="iteration") as bar:
        for number, (run, first) in enumerate(lacking, 1):
            run.folder.mkdir(parents=True, exist_ok=True)
            try:
                with locked(run.folder / ".table.lock") as lock:
                    while (job := next_job(run, num_gpus)) is not None:
                        bar.describe(f"{number}/{len(lacking)} {job.label}")
                        reason = execute(job, bar, lock.fileno())
                        if reason is None and next_job(run, num_gpus) == job:
                            reason = "it ended, but left no results"
                        if reason is not None:
                            failures[job.label] = f"{reason} ({job.log})"
                            break
                        after_each()
            except BlockingIOError:
                failures[first.label] = f"another process is at work on it ({run.folder})"
    return failures


def execute(job: Job, bar: Progress, lock: int) -> str | None:
    """Do a job and show how far it is.

    Args:
        job: the job.
        bar: counts iterations of training.
        lock: file descriptor that stays open until the command has ended.

    Returns:
        None, or in one line why it failed.
    """
    seen = _iterations_done(job)
    bar.skip(seen)  # done by an earlier start
    start = time.monotonic()
    with child(job.command, job.log, keep_open=[lock]) as process:
        while process.poll() is None:
            time.sleep(0.2 if time.monotonic() - start < 10 else 1.0)
            now = max(seen, _iterations_done(job))
            bar.update(now - seen)
            seen = now
            bar.refresh()
    if process.returncode == 0:
        bar.update(job.iterations - seen)
        bar.write(f"{job.label}: done in {(time.monotonic() - start) / 60:.1f} minutes")
        return None
    reason = _reason(job.log) or f"exit code {process.returncode}"
    bar.write(f"{job.label}: FAILED: {reason}")
    return reason


def _iterations_done(job: Job) -> int:
    """By the last line of Detectron2's metrics.json that is whole."""
    try:
        with open(job.folder / "metrics.json", "rb") as file:
            file.seek(max(0, file.seek(0, 2) - 65536))
            last = file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
        return min(json.loads(last)["iteration"] + 1, job.iterations)
    except (OSError, ValueError, KeyError, TypeError):  # there is none yet
        return 0


def _reason(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1]
