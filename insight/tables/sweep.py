"""Completing the runs of a table, one after the other, each in a separate process."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from insight.engine.results import CONFIG
from insight.runtime.child import child
from insight.runtime.locks import locked
from insight.runtime.progress import Progress

from .runs import STEPS, Run

# -P: a folder named insight where the command is given is not imported.
_INSIGHT = [sys.executable, "-P", "-m", "insight"]
OUTPUT = "output.txt"  # in a run's folder: the output of its command


@dataclass(frozen=True)
class Job:
    """A command that makes a part of a run.

    Args:
        label: description for the progress bar.
        command: program and arguments.
        log: file for its output.
        folder: folder of the run.
        iterations: number of training iterations; 0 where nothing is trained.
    """

    label: str
    command: list[str]
    log: Path
    folder: Path
    iterations: int = 0


def next_job(run: Run, num_gpus: int = 1) -> Job | None:
    """Return the next job of a run.

    Args:
        run: the run.
        num_gpus: number of GPUs to train with.

    Returns:
        Its training, or the first missing measurement; None if the run is complete.

    Raises:
        InputError: its folder holds another run.
    """
    if run.trained() is None:
        mode = ["evaluate"] if run.row.eval_only else ["train", "--resume"]
        command = [*_INSIGHT, *mode, "--config-file", *run.row.configs, "--num-gpus", str(num_gpus)]
        iterations = 0 if run.row.eval_only else run.cfg.SOLVER.MAX_ITER
        return Job(run.label, [*command, *run.overrides], run.folder / OUTPUT, run.folder, iterations)
    for step in run.steps:
        if run.step_results(step) is None:
            command = [*_INSIGHT, "measure", STEPS[step], "--config-file", str(run.folder / CONFIG)]
            command += ["--output", str(run.folder / f"{step}.json")]
            if not run.row.eval_only:
                command += ["--weights", str(run.folder / "model_final.pth")]
            return Job(f"{run.label}: measure {STEPS[step]}", command, run.folder / f"{step}.txt", run.folder)
    return None


def do_runs(runs: Sequence[Run], after_each: Callable[[], None], num_gpus: int = 1) -> dict[str, str]:
    """Complete the runs, with a progress bar. If a run fails, the others continue.

    A run that another process is working on is skipped, so several processes may make the same table.

    Args:
        runs: the runs, in the order in which to make them.
        after_each: called after each training and measurement.
        num_gpus: number of GPUs to train with.

    Returns:
        What failed or is left to other processes, and why, by label.

    Raises:
        InputError: the folder of a run holds another run; nothing was started then.
        OSError: a run's lock cannot be taken, other than because another process holds it.
    """
    lacking = [(run, job) for run in runs if (job := next_job(run, num_gpus)) is not None]
    total = sum(job.iterations for _, job in lacking)
    print(f"{len(runs) - len(lacking)} of {len(runs)} runs are complete, {len(lacking)} to do", file=sys.stderr)
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
                            reason = "the command ended without writing its results"
                        if reason is not None:
                            failures[job.label] = f"{reason} ({job.log})"
                            break
                        after_each()
            except BlockingIOError:
                failures[first.label] = f"another process is working on it ({run.folder})"
    return failures


def execute(job: Job, bar: Progress, lock: int) -> str | None:
    """Run a job and show its progress.

    Args:
        job: the job.
        bar: progress bar, which counts training iterations.
        lock: file descriptor that stays open until the command has ended.

    Returns:
        None, or why it failed, in one line.
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
    """Iterations up to the last complete line of Detectron2's metrics.json."""
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
