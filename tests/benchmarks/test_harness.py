"""Measuring: agreement before timing, turns, memory; with contenders whose cost is known."""

import itertools

import harness
import pytest
import torch
from harness import OURS, QUICK, Case, Effort, Rival, measure, peak_memory

CPU = torch.device("cpu")


def ones(*_):
    return torch.ones(3)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when a contender says so: `clock(seconds)` makes one that takes this long."""
    now = [0.0]
    monkeypatch.setattr(harness.time, "perf_counter", lambda: now[0])

    def contender(*seconds):
        turns = itertools.cycle(seconds)

        def run():
            now[0] += next(turns)
            return torch.ones(3)

        return run

    return contender


def test_ratio_is_rival_time_over_ours(clock):
    case = Case("c", clock(0.002), {"slow": Rival(clock(0.02), target=2.0), "fast": Rival(clock(0.001))}, note="n")
    outcome = measure("b", case, CPU, QUICK)
    assert outcome.error == "" and outcome.note == "n"
    assert list(outcome.contenders) == [OURS, "slow", "fast"]
    seconds = [m.seconds for m in outcome.contenders.values()]
    ratios = [m.ratio for m in outcome.contenders.values()]
    assert seconds == pytest.approx([0.002, 0.02, 0.001]) and ratios == pytest.approx([1.0, 10.0, 0.5])
    assert [m.target for m in outcome.contenders.values()] == [None, 2.0, None]


def test_the_median_ignores_a_round_that_was_disturbed(clock):
    # One call a round (sample 0); before the rounds: agreement, three calls for memory, one to calibrate.
    rival = clock(*[0.02] * 4, 0.02, 9.0, 0.02)
    outcome = measure("b", Case("c", clock(0.01), {"r": Rival(rival)}), CPU, Effort(rounds=3, sample=0.0))
    assert outcome.contenders["r"].seconds == pytest.approx(0.02)
    assert outcome.contenders["r"].ratio == pytest.approx(2.0)


def test_slow_work_gets_fewer_rounds(clock):
    calls = []
    ours = clock(50.0)

    def counted():
        calls.append(1)
        return ours()

    case = Case("c", counted, {"r": Rival(clock(50.0))})
    measure("b", case, CPU, Effort(rounds=9, sample=0.0, patience=120.0))
    assert len(calls) == 4 + 3  # no third round after 200 s; before the rounds: as above
    outcome = measure("b", case, CPU, Effort(rounds=9, sample=0.0, patience=0.0))
    assert outcome.contenders[OURS].seconds == 50.0 and outcome.contenders["r"].ratio == 1.0
    assert len(calls) == 7 + 5  # the call to calibrate was the only round


def test_contenders_take_turns_in_changing_order():
    order = []

    def contender(name):
        def run():
            order.append(name)
            return torch.ones(1)

        return run

    case = Case("c", contender("a"), {"b": Rival(contender("b"), tolerance=None)})
    measure("x", case, CPU, Effort(rounds=3, sample=0.0))
    assert order[-6:] == ["a", "b", "b", "a", "a", "b"]


def test_disagreement_is_a_failure_and_nothing_is_timed():
    calls = []

    def wrong():
        calls.append(1)
        return torch.ones(3) + 1e-3

    outcome = measure("b", Case("c", ones, {"wrong": Rival(wrong)}), CPU, QUICK)
    assert "'wrong' disagrees with ours" in outcome.error and "\n" not in outcome.error
    assert outcome.contenders == {} and len(calls) == 1
    assert measure("b", Case("c", ones, {"wrong": Rival(wrong, tolerance=1e-2)}), CPU, QUICK).error == ""
    assert measure("b", Case("c", ones, {"wrong": Rival(wrong, tolerance=None)}), CPU, QUICK).error == ""


def test_agreement_of_tuples_and_other_dtypes():
    pair = Rival(lambda: (torch.ones(3, dtype=torch.float64), torch.zeros(2)))
    assert measure("b", Case("c", lambda: (torch.ones(3), torch.zeros(2)), {"r": pair}), CPU, QUICK).error == ""
    assert "disagrees" in measure("b", Case("c", lambda: (torch.ones(3), torch.ones(2)), {"r": pair}), CPU, QUICK).error


def test_an_exception_of_a_contender_is_a_failure():
    def broken():
        raise RuntimeError("out of\nluck")

    outcome = measure("b", Case("c", ones, {"broken": Rival(broken)}), CPU, QUICK)
    assert outcome.error == "RuntimeError: out of luck"


def test_peak_memory_counts_temporaries_and_not_the_result():
    size = 8 * 2**20  # floats: 32 MiB

    def with_temporary():
        return (torch.ones(size) + 1.0)[:1].clone()

    measured = peak_memory(with_temporary, CPU)
    if measured is None:
        pytest.skip("this system does not report the peak resident set")
    assert pytest.approx(measured, rel=0.05) == 64 * 2**20
    assert peak_memory(lambda: torch.ones(size), CPU) < 2 * 2**20
    assert peak_memory(lambda: (torch.ones(size), torch.ones(size)), CPU) < 2 * 2**20
