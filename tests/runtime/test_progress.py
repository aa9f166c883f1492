import logging

import pytest

from insight.runtime import progress as module
from insight.runtime.progress import Progress, progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def lines(caplog, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    caplog.set_level(logging.INFO, module.__name__)
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_terminal_gets_a_bar_and_a_log_none(monkeypatch, capsys, caplog):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    caplog.set_level(logging.INFO)
    assert list(progress([3, 4, 5], "Reading", "image")) == [3, 4, 5]
    said = capsys.readouterr().err
    assert "Reading: 100%" in said and "3/3" in said and not caplog.records


def test_quick_work_is_silent_without_a_terminal(lines, capsys):
    assert list(progress(iter(range(1000)), "Reading", "image", total=1000)) == list(range(1000))
    assert not lines() and capsys.readouterr().err == ""


def test_a_line_for_each_tenth_but_not_within_30_seconds(lines, clock):
    for _ in progress(range(100), "Reading", "image"):
        clock.now += 1.0  # a tenth in ten seconds
    assert [line.split(",")[0] for line in lines()] == [
        f"Reading: {done} of 100 images ({done} %)" for done in (30, 60, 90)
    ]
    assert lines()[0].endswith("about 01:10 left")


def test_slow_work_has_a_line_every_ten_minutes(lines, clock):
    with Progress(1000, "Training", "iteration") as shown:
        for _ in range(10):
            clock.now += 300.0
            shown.update()
    assert len(lines()) == 5 and lines()[0].startswith("Training: 2 of 1000 iterations (0 %), about ")


def test_the_plural_of_box(lines, clock):
    with Progress(2, "Segmenting", "box") as shown:
        clock.now += 60.0
        shown.update()
    assert lines() == ["Segmenting: 1 of 2 boxes (50 %), about 01:00 left"]


def test_what_was_done_before_does_not_count_as_speed(lines, clock):
    with Progress(100, "Training", "iteration") as shown:
        shown.skip(50)
        clock.now += 100.0
        shown.update(10)
    assert lines() == ["Training: 60 of 100 iterations (60 %), about 06:40 left"]
    assert (shown.done, shown.skipped) == (60, 50)


def test_the_iterable_is_closed_with_the_loop(lines):
    closed = []

    def items():
        try:
            yield from range(3)
        finally:
            closed.append(True)

    for item in progress(items(), "Reading", "image", total=3):
        assert item == 0
        break
    assert closed == [True]
