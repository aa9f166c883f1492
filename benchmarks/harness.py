"""Side-by-side measurement of one question: how much faster than its rivals is our way of doing a piece of work?

A benchmark is a file `bench_<question>.py` beside this one with a function

    def cases(device: torch.device) -> Iterable[Case]: ...

and nothing else is needed: `run.py` finds it. Write it as a generator, so that the tensors of one case are gone before
those of the next are made. Inputs belong outside the callables (only the work itself is timed), sized as in the target.
"""

import ctypes
import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

OURS = "ours"


@dataclass(frozen=True)
class Rival:
    """Another way to do the work of a case.

    Args:
        run: does the work once and returns its result: a tensor, or a tuple of tensors.
        target: the least (rival's time / our time) that we want; None where there is no target.
        tolerance: largest difference from our result, absolute plus relative, that passes the check before timing;
            None where the rival computes something slightly else (the case's note says what).
    """

    run: Callable[[], Any]
    target: float | None = None
    tolerance: float | None = 1e-4


@dataclass(frozen=True)
class Case:
    """One piece of work, and the contenders that do it.

    Args:
        name: what is done, with its sizes, such as "2000 proposals x 300 gt, forward".
        ours: does the work once with the code under test and returns its result.
        rivals: by name; the PyTorch twin of an op is called "twin".
        note: what a reader of the table must know.
    """

    name: str
    ours: Callable[[], Any]
    rivals: Mapping[str, Rival]
    note: str = ""


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Args:
        rounds: how often each contender is timed; the medians are reported.
        sample: least length of one timing, seconds; quick work is repeated to fill it.
        patience: seconds of timing after which no further round begins; slow work gets fewer rounds, at least one.
    """

    rounds: int = 9
    sample: float = 0.05
    patience: float = 120.0


QUICK = Effort(rounds=3, sample=0.005, patience=10.0)


@dataclass(frozen=True)
class Measurement:
    """What one contender took.

    Args:
        seconds: median time of one call.
        memory: bytes in use at the peak of one call, beyond those before it and those of its result; None where
            it cannot be measured.
        ratio: median over the rounds of (this contender's time / our time in the same round); 1 for ours.
        target: the least ratio wanted, or None.
    """

    seconds: float
    memory: int | None
    ratio: float
    target: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A case that was measured, or the one line that says why it was not.

    Args:
        benchmark: name of the file, without "bench_" and ".py".
        case: name of the case.
        contenders: by name, ours first; empty if the case failed.
        note: the case's note.
        error: why the case failed; empty if it did not.
    """

    benchmark: str
    case: str
    contenders: Mapping[str, Measurement] = field(default_factory=dict)
    note: str = ""
    error: str = ""


def measure(benchmark: str, case: Case, device: torch.device, effort: Effort = Effort()) -> Outcome:
    """Check that the contenders of a case agree, then time them in turns and measure their memory.

    Args:
        benchmark: name under which the outcome is reported.
        case: the work.
        device: where it runs: decides how time and memory are taken.
        effort: how long to measure.

    Returns:
        The measurements, or, if a contender raised or disagreed, an outcome with `error`.
    """
    runs = {OURS: case.ours} | {name: rival.run for name, rival in case.rivals.items()}
    try:
        _check_agreement(case)
        memory = {name: peak_memory(run, device) for name, run in runs.items()}
        times = _time_in_turns(runs, device, effort)
    except Exception as error:  # any failure of a contender is a line of the report; the other cases go on
        return Outcome(benchmark, case.name, note=case.note, error=f"{type(error).__name__}: {_one_line(error)}")
    contenders = {
        name: Measurement(
            seconds=statistics.median(times[name]),
            memory=memory[name],
            ratio=statistics.median(theirs / ours for theirs, ours in zip(times[name], times[OURS])),
            target=case.rivals[name].target if name in case.rivals else None,
        )
        for name in runs
    }
    return Outcome(benchmark, case.name, contenders, case.note)


def _check_agreement(case: Case) -> None:
    ours = case.ours()
    for name, rival in case.rivals.items():
        if rival.tolerance is None:
            continue
        try:
            torch.testing.assert_close(
                rival.run(), ours, atol=rival.tolerance, rtol=rival.tolerance, check_dtype=False, check_stride=False
            )
        except AssertionError as error:
            raise AssertionError(f"'{name}' disagrees with ours: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _time_in_turns(
    runs: Mapping[str, Callable[[], Any]], device: torch.device, effort: Effort
) -> dict[str, list[float]]:
    """Seconds per call of each contender in each round.

    The contenders take turns within a round, each round in another order, so that a machine that is busy with something
    else, or warms up, slows all of them alike.
    """
    begin = time.perf_counter()
    once = {name: _seconds_per_call(run, 1, device) for name, run in runs.items()}  # their first calls were for memory
    if time.perf_counter() - begin > effort.patience:
        return {name: [seconds] for name, seconds in once.items()}  # a round in itself, and another would be too many
    calls = {name: max(1, min(10_000, math.ceil(effort.sample / max(s, 1e-9)))) for name, s in once.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    begin = time.perf_counter()
    for turn in range(effort.rounds):
        if turn and time.perf_counter() - begin > effort.patience:
            break
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(_seconds_per_call(runs[name], calls[name], device))
    return times


def _seconds_per_call(run: Callable[[], Any], calls: int, device: torch.device) -> float:
    if device.type == "cuda":
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        begin.record()
        for _ in range(calls):
            run()
        end.record()
        torch.cuda.synchronize(device)
        return begin.elapsed_time(end) / 1e3 / calls
    begin = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - begin) / calls


def peak_memory(run: Callable[[], Any], device: torch.device) -> int | None:
    """Memory in use at the peak of one call, beyond that before the call and that of the result.

    CUDA: torch.cuda.max_memory_allocated, so what torch's allocator gave out. CPU: growth of the process's peak
    resident set (VmHWM) after the free pages of the heap were returned and the mark was reset, so whatever was touched,
    by whichever allocator, in pages of 4 KiB; Linux only.

    Args:
        run: does the work once and returns its result.
        device: where it runs.

    Returns:
        Bytes, or None where the system does not tell.
    """
    run()  # what the first call keeps for good (code, thread pools, cuBLAS workspaces) is not the work's
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = run()
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device)
    else:
        try:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        except (OSError, AttributeError):  # not Linux, not glibc, or a sandbox without it
            return None
        before = _resident("VmRSS")
        result = run()
        peak = _resident("VmHWM")
    return max(0, peak - before - _bytes_of(result))


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def _bytes_of(result: Any) -> int:
    tensors = [result] if isinstance(result, torch.Tensor) else result or ()
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())
