"""Reports of benchmark outcomes: the table, the JSON file, and the comparison with an earlier run."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import OURS, Measurement, Outcome

from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write


def save(path: Path, machine: dict, outcomes: Sequence[Outcome]) -> None:
    """Write outcomes as JSON; the file is complete or absent.

    Args:
        path: the file.
        machine: the output of `insight.runtime.machine.describe_machine`.
        outcomes: outputs of `harness.measure`.
    """
    with atomic_write(path) as file:
        file.write(json.dumps({"machine": machine, "outcomes": [asdict(o) for o in outcomes]}, indent=1) + "\n")


def load(path: Path) -> tuple[dict, list[Outcome]]:
    """Read what `save` wrote.

    Args:
        path: the file.

    Returns:
        The machine and the outcomes.

    Raises:
        InputError: the file cannot be read, or was not written by `save`.
    """
    try:
        data = json.loads(path.read_text())
        outcomes = [
            Outcome(**(o | {"contenders": {name: Measurement(**m) for name, m in o["contenders"].items()}}))
            for o in data["outcomes"]
        ]
        return data["machine"], outcomes
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: not a file written by benchmarks/run.py --json ({error!r})") from None


def table(outcomes: Sequence[Outcome]) -> str:
    """Format outcomes as a table.

    Args:
        outcomes: outputs of `harness.measure`.

    Returns:
        Lines of text: a heading per case and a row per contender, with the ratio of its time to ours.
    """
    lines = []
    for outcome in outcomes:
        lines.append(f"{outcome.benchmark}: {outcome.case}")
        if outcome.error:
            lines.append(f"    FAILED  {outcome.error}")
        width = max([24, *map(len, outcome.contenders)])
        for name, m in outcome.contenders.items():
            row = f"    {name:<{width}} {seconds_text(m.seconds):>10} {bytes_text(m.memory):>11} "
            lines.append(row + ("" if name == OURS else f"{m.ratio:>7.2f}x{_verdict(m)}"))
        if outcome.note:
            lines.append(f"    ({outcome.note})")
    return "\n".join(lines)


def _verdict(m: Measurement) -> str:
    if m.target is None:
        return ""
    return f"   target {m.target:g}x {'reached' if m.ratio >= m.target else 'MISSED'}"


def seconds_text(value: float) -> str:
    """A duration in s, ms or us."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size or unit == "us":
            break
    return f"{value / size:.2f} {unit}"


def bytes_text(value: int | None) -> str:
    """An amount of extra memory in MiB."""
    return "n/a" if value is None else f"+{value / 2**20:.2f} MiB"


@dataclass(frozen=True)
class Change:
    """A ratio (rival's time / our time) in an earlier run and in this one.

    Args:
        name: benchmark, case and rival.
        old: ratio in the earlier run.
        new: ratio in this run; None if the case failed.
    """

    name: str
    old: float
    new: float | None

    @property
    def percent(self) -> float:
        """Growth of the ratio in per cent; negative if ours became slower relative to the rival."""
        return 100.0 * (self.new / self.old - 1.0) if self.new is not None else -100.0


def compare(old: Sequence[Outcome], new: Sequence[Outcome]) -> list[Change]:
    """Compare the ratios of two runs.

    Ratios, not seconds, because both contenders ran on the same machine within minutes, so that a slower or busier
    machine does not look like a regression.

    Args:
        old: outcomes of the earlier run.
        new: outcomes of this run; cases in only one of the two are left out.

    Returns:
        One change for each rival in both runs; those of a case that failed in this run count as lost.
    """
    earlier = {(o.benchmark, o.case): o.contenders for o in old}
    changes = []
    for outcome in new:
        for rival, before in earlier.get((outcome.benchmark, outcome.case), {}).items():
            name = f"{outcome.benchmark}: {outcome.case}, against {rival}"
            if rival != OURS and outcome.error:
                changes.append(Change(name, before.ratio, None))
            elif rival != OURS and rival in outcome.contenders:
                changes.append(Change(name, before.ratio, outcome.contenders[rival].ratio))
    return changes


def comparison(changes: Sequence[Change]) -> str:
    """Format changes as text.

    Args:
        changes: the output of `compare`.

    Returns:
        One line per change.
    """
    return "\n".join(
        f"{c.old:>8.2f}x -> {'failed' if c.new is None else f'{c.new:.2f}x':>8} {c.percent:>+7.1f} %   {c.name}"
        for c in changes
    )
