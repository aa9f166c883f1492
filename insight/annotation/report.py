"""Counts of kept and dropped masks, and the report."""

import bisect
import math
from collections import Counter, defaultdict
from dataclasses import asdict
from typing import Any

import numpy as np

from insight.runtime.words import counted

from .candidates import Candidate, Verdict
from .filters import REASONS, Filters

BINS = 40
EDGES = {  # of histograms of what is measured; values beyond them are in the first or the last bin
    name: np.linspace(0.0, high, BINS + 1).tolist()
    for name, high in {"score": 1.0, "in_box": 1.0, "area_ratio": 2.0, "largest_part": 1.0}.items()
}


class Statistics:
    """Counts by class and by reason, and histograms; memory does not grow with the masks."""

    def __init__(self):
        self.classes: dict[str, Counter[str]] = defaultdict(Counter)  # "kept" and "dropped"
        self.reasons: Counter[str] = Counter()  # of all masks; one may have several
        self.by_hand: Counter[str] = Counter()  # "kept" and "dropped" against the filters
        self.bins = {name: {"kept": np.zeros(BINS, int), "dropped": np.zeros(BINS, int)} for name in EDGES}

    def add(self, candidate: Candidate, verdict: Verdict) -> None:
        """Add a mask."""
        kind = "kept" if verdict.keep else "dropped"
        self.classes[candidate.class_name][kind] += 1
        self.reasons.update(verdict.reasons)
        self.by_hand[kind] += verdict.by_hand
        for name, edges in EDGES.items():
            value = candidate.measured.get(name)
            if value is not None and not math.isnan(value):
                place = bisect.bisect_right(edges, value) - 1
                self.bins[name][kind][min(max(place, 0), BINS - 1)] += 1

    def count(self, kind: str) -> int:
        """Return the number of masks that are "kept" or "dropped"."""
        return sum(counts[kind] for counts in self.classes.values())

    def to_json(self) -> dict[str, Any]:
        """Convert all counts to JSON values."""
        kinds = ("kept", "dropped")
        return {
            **{kind: self.count(kind) for kind in kinds},
            "by_hand": {kind: self.by_hand[kind] for kind in kinds},
            "reasons": {reason: self.reasons[reason] for reason in REASONS},
            "classes": {name: {kind: self.classes[name][kind] for kind in kinds} for name in sorted(self.classes)},
            "histograms": {
                name: {"from": edges[0], "to": edges[-1], **{kind: self.bins[name][kind].tolist() for kind in kinds}}
                for name, edges in EDGES.items()
            },
        }


def to_markdown(statistics: Statistics, settings: dict[str, Any], filters: Filters | None, failures: dict[str, str]):
    """Write the report as Markdown.

    Args:
        statistics: counts of the masks.
        settings: settings that the masks depend on.
        filters: filters that decided; None if a review file did.
        failures: names of what could not be used -> reason.

    Returns:
        The text; it shows the pictures histograms.png, worst_kept.png and best_dropped.png.
    """
    kept, dropped = statistics.count("kept"), statistics.count("dropped")
    bounds = "A review file decided." if filters is None else _table("filter | bound", asdict(filters).items())
    by_hand = statistics.by_hand
    classes = [
        (name, counts["kept"] + counts["dropped"], counts["kept"], counts["dropped"])
        for name, counts in sorted(statistics.classes.items())
    ]
    reasons = [
        (reason, statistics.reasons[reason], REASONS[reason]) for reason in REASONS if statistics.reasons[reason]
    ]
    parts = [
        "# Masks of boxes",
        f"{counted(kept + dropped, 'box')}: {counted(kept, 'mask')} kept, {dropped} dropped. "
        f"Decided manually, against the filters: {by_hand['kept']} kept, {by_hand['dropped']} dropped.",
        _table("masks made with |", settings.items()),
        bounds,
        "## Classes",
        _table("class | boxes | kept | dropped", classes),
        "## Reasons against masks",
        "A mask may have several.",
        _table("reason | masks | meaning", reasons) if reasons else "None.",
        "## What could not be used",
        "\n".join(f"- {name}: {reason}" for name, reason in sorted(failures.items())) or "None.",
        "## Pictures",
        "![Histograms](histograms.png)",
        "The hundred masks of lowest score that are kept:",
        "![Worst masks that are kept](worst_kept.png)",
        "The hundred masks of highest score that are dropped:",
        "![Best masks that are dropped](best_dropped.png)",
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: str, rows) -> str:
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows])
