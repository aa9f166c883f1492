"""Side-by-side measurement: how much faster is our implementation than its rivals?

A benchmark is a file `bench_<name>.py` in this folder, found by `run.py`, with a function

    def cases(device: torch.device) -> Iterable[Case]: ...

Write it as a generator, so that the tensors of a case are freed before those of the next are created. Create inputs
outside the callables, so that only the work itself is timed. What takes long to create, such as a model, is a
`functools.cache` of a function that the callables call: it is created when a case that needs it is first run, before
anything is timed, so that `--only` builds nothing for the other cases.
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
    """Another implementation of the work of a case.

    Args:
        run: does the work once and returns its result: a tensor, or a tuple of tensors.
        target: the least ratio (rival's time / our time) aimed for; None: no target.
        tolerance: the largest absolute plus relative difference from our result that is accepted before timing; None
            if the rival computes something slightly different (the case's note says what).
    """

    run: Callable[[], Any]
    target: float | None = None
    tolerance: float | None = 1e-4


@dataclass(frozen=True)
class Work:
    """The least work of a case, to be compared with what the device can do.

    Args:
        traffic: bytes that any implementation must read and write.
        operations: floating-point operations of its matrix products.
        dtype: of the matrix products.
    """

    traffic: int
    operations: int = 0
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Case:
    """One piece of work, and its implementations.

    Args:
        name: what is done, with its sizes, such as "2000 proposals x 300 gt, forward".
        ours: does the work once with the code under test and returns its result.
        rivals: by name; the PyTorch reference of an operator is called "twin", as in earlier results.
        note: what a reader of the table must know.
        work: the least work, if it is known.
    """

    name: str
    ours: Callable[[], Any]
    rivals: Mapping[str, Rival]
    note: str = ""
    work: Work | None = None


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Args:
        rounds: number of timings of each contender; medians are reported.
        sample: least duration of one timing, seconds; fast work is repeated to fill it.
        patience: seconds of timing after which no further round starts; slow work gets fewer rounds, at least one.
    """

    rounds: int = 9
    sample: float = 0.05
    patience: float = 120.0


QUICK = Effort(rounds=3, sample=0.005, patience=10.0)


@dataclass(frozen=True)
class Measurement:
    """Time and memory of one contender.

    Args:
        seconds: median time of one call.
        memory: peak memory of one call in bytes, beyond that before the call and that of the result; None if it
            cannot be measured.
        ratio: median over the rounds of (this contender's time / our time in the same round); 1 for ours.
        target: the least ratio aimed for, or None.
    """

    seconds: float
    memory: int | None
    ratio: float
    target: float | None = None


@dataclass(frozen=True)
class Outcome:
    """The measurements of a case, or the reason why there are none.

    Args:
        benchmark: name of the file, without "bench_" and ".py".
        case: name of the case.
        contenders: by name, ours first; empty if the case failed.
        note: the case's note.
        error: one line, why the case failed; empty if it did not.
    """

    benchmark: str
    case: str
    contenders: Mapping[str, Measurement] = field(default_factory=dict)
    note: str = ""
    error: str = ""


def measure(benchmark: str, case: Case, device: torch.device, effort: Effort = Effort()) -> Outcome:
    """Check that the contenders of a case agree, measure their memory, and time them alternately.

    Args:
        benchmark: name under which the outcome is reported.
        case: the work.
        device: where it runs, which determines how time and memory are measured.
        effort: how long to measure.

    Returns:
        The measurements, or an outcome with `error` if a contender raised an exception or disagreed.
    """
    runs = {OURS: case.ours} | {name: rival.run for name, rival in case.rivals.items()}
    try:
        _check_agreement(case)
        memory = {name: peak_memory(run, device) for name, run in runs.items()}
        times = _time_alternately(runs, device, effort)
    except Exception as error:  # reported as a line of the table; the other cases still run
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


def _time_alternately(
    runs: Mapping[str, Callable[[], Any]], device: torch.device, effort: Effort
) -> dict[str, list[float]]:
    """Seconds per call of each contender in each round.

    Contenders take turns within a round, in another order each round, so that other load on the machine, or warming up,
    affects all of them alike.
    """
    begin = time.perf_counter()
    # Warmed up by the measurement of memory.
    once = {name: _seconds_per_call(run, 1, device) for name, run in runs.items()}
    if time.perf_counter() - begin > effort.patience:
        return {name: [seconds] for name, seconds in once.items()}  # too slow for another round
    calls = {name: max(1, min(10_000, math.ceil(effort.sample / max(s, 1e-9)))) for name, s in once.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    begin = time.perf_counter()
    for number in range(effort.rounds):
        if number and time.perf_counter() - begin > effort.patience:
            break
        first = number % len(names)
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
    """Measure the peak memory of one call, beyond that before the call and that of the result.

    CUDA: torch.cuda.max_memory_allocated, the memory given out by torch's allocator. CPU: growth of the peak resident
    set of the process (VmHWM), which counts pages touched through any allocator; Linux only. Other threads of the
    process and the allocator's own pages count there too, so the call is made twice and the smaller growth taken.

    Args:
        run: does the work once and returns its result.
        device: where it runs.

    Returns:
        Bytes, or None if the system does not report it.
    """
    run()  # memory that the first call keeps (code, thread pools, cuBLAS workspaces) does not count
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = run()
        torch.cuda.synchronize(device)
        return max(0, torch.cuda.max_memory_allocated(device) - before - _bytes_of(result))
    return min(_resident_growth(run) for _ in range(2)) if _reset_peak() else None


def _resident_growth(run: Callable[[], Any]) -> int:
    """Bytes by which one call raises the peak resident set, less those of its result."""
    _reset_peak()
    before = resident("VmRSS")
    result = run()
    return max(0, resident("VmHWM") - before - _bytes_of(result))


def _reset_peak() -> bool:
    """Set the peak resident set to the present one; False where the system cannot."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):  # not Linux, not glibc, or a sandbox without it
        return False
    return True


def resident(key: str) -> int:
    """Return VmRSS, the resident set of this process in bytes, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def _bytes_of(result: Any) -> int:
    tensors = [result] if isinstance(result, torch.Tensor) else result or ()
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())
