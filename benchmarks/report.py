"""What is told of the outcomes: the table, the JSON file, and the comparison with an earlier one."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import OURS, Measurement, Outcome

from insight.runtime.atomic_files import atomic_write


def save(path: Path, machine: dict, outcomes: Sequence[Outcome]) -> None:
    """Write outcomes as JSON; the file is whole or absent.

    Args:
        path: the file.
        machine: of `insight.runtime.machine.describe_machine`.
        outcomes: of `harness.measure`.
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
        ValueError: if the file cannot be read or holds something else; one line that names it.
    """
    try:
        data = json.loads(path.read_text())
        outcomes = [
            Outcome(**(o | {"contenders": {name: Measurement(**m) for name, m in o["contenders"].items()}}))
            for o in data["outcomes"]
        ]
        return data["machine"], outcomes
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: not a file written by benchmarks/run.py --json ({error!r})") from None


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes for a reader.

    Args:
        outcomes: of `harness.measure`.

    Returns:
        Lines of text: per case a heading and a row per contender. `ratio` is the contender's time / our time.
    """
    lines = []
    for outcome in outcomes:
        lines.append(f"{outcome.benchmark}: {outcome.case}")
        if outcome.error:
            lines.append(f"    FAILED  {outcome.error}")
        width = max([24, *map(len, outcome.contenders)])
        for name, m in outcome.contenders.items():
            row = f"    {name:<{width}} {_seconds(m.seconds):>10} {_bytes(m.memory):>11} "
            lines.append(row + ("" if name == OURS else f"{m.ratio:>7.2f}x{_verdict(m)}"))
        if outcome.note:
            lines.append(f"    ({outcome.note})")
    return "\n".join(lines)


def _verdict(m: Measurement) -> str:
    if m.target is None:
        return ""
    return f"   target {m.target:g}x {'reached' if m.ratio >= m.target else 'MISSED'}"


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size or unit == "us":
            break
    return f"{value / size:.2f} {unit}"


def _bytes(value: int | None) -> str:
    return "n/a" if value is None else f"+{value / 2**20:.2f} MiB"


@dataclass(frozen=True)
class Change:
    """A ratio of an earlier run beside today's.

    Args:
        name: benchmark, case and rival.
        old: ratio (rival's time / our time) of the earlier run.
        new: today's ratio; None if the case failed today.
    """

    name: str
    old: float
    new: float | None

    @property
    def percent(self) -> float:
        """Growth of the ratio in per cent; negative if we became slower against the rival."""
        return 100.0 * (self.new / self.old - 1.0) if self.new is not None else -100.0


def compare(old: Sequence[Outcome], new: Sequence[Outcome]) -> list[Change]:
    """Set today's ratios beside those of an earlier run.

    Ratios, not seconds: both contenders ran on the same machine in the same minutes, so a slower or busier machine
    does not look like a regression.

    Args:
        old: outcomes of the earlier run.
        new: outcomes of today; a case that is in only one of the two is left out.

    Returns:
        One change for each rival that both runs have; those of a case that failed today count as lost.
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
    """The changes for a reader.

    Args:
        changes: of `compare`.

    Returns:
        One line of text for each.
    """
    return "\n".join(
        f"{c.old:>8.2f}x -> {'failed' if c.new is None else f'{c.new:.2f}x':>8} {c.percent:>+7.1f} %   {c.name}"
        for c in changes
    )
