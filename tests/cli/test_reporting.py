import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from insight.cli.reporting import in_flags, one_line, report_errors
from insight.errors import InputError, InsightError


class Broken:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise InputError("/data/a.png: truncated image")


def test_one_line_of_an_error_from_a_loading_process_is_what_that_process_said():
    with pytest.raises(InputError) as caught:
        next(iter(DataLoader(Broken(), num_workers=1)))
    assert "Traceback" in str(caught.value)
    assert one_line(caught.value) == "/data/a.png: truncated image"


@pytest.mark.parametrize(
    "error, line",
    [
        (InputError("two\n  lines"), "two lines"),
        (FileNotFoundError(2, "No such file or directory", "a.json"), "a.json: No such file or directory"),
        (OSError("cannot read"), "cannot read"),
        (InputError(), "InputError"),
    ],
)
def test_one_line(error, line):
    assert one_line(error) == line


@pytest.mark.parametrize(
    "said, translated",
    [
        ("max_dets: expected at least 1", "--max-dets: expected at least 1"),
        ("boxes[3] = [1, 2]: inverted", "--boxes[3] = [1, 2]: inverted"),
        ("boxes are inverted", "boxes are inverted"),
        ("a.json: max_dets: no", "a.json: max_dets: no"),
        ("size: expected 1", "size: expected 1"),
        ("a.json: wrong; skip_bad=True leaves it out", "a.json: wrong; --skip-bad leaves it out"),
    ],
)
def test_names_of_arguments_become_options(said, translated):
    assert in_flags(said, {"max_dets": "--max-dets", "boxes": "--boxes", "skip_bad": "--skip-bad"}) == translated


@pytest.fixture
def end_of(monkeypatch, capsys):
    """Exit code and standard error of a command that raises an error."""
    monkeypatch.setattr("signal.signal", lambda number, handler: None)  # would outlive the test

    def run(error, flags=None):
        def work():
            raise error

        return report_errors(work, flags), capsys.readouterr().err

    return run


def test_the_exit_code_passes_through(monkeypatch):
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    assert [report_errors(lambda code=code: code) for code in (None, 0, 1)] == [0, 0, 1]


SMALLER = ": use smaller images, crops or batches, or fewer processes"


@pytest.mark.parametrize(
    "error, line",
    [
        (InsightError("the weights do not fit"), "the weights do not fit"),
        (InputError("boxes[0] is inverted"), "--boxes[0] is inverted"),
        (FileNotFoundError(2, "No such file or directory", "a.json"), "a.json: No such file or directory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "CUDA out of memory"),
        (RuntimeError("DataLoader worker (pid 1) is killed"), "DataLoader worker (pid 1) is killed"),
        (MemoryError(), f"not enough memory{SMALLER}"),
        (FileNotFoundError("\x1b[2Ja\udcff.png: gone\0"), "\\x1b[2Ja\\udcff.png: gone\\x00"),
        (InputError("x" * 5000 + ": too long"), "x" * 500 + " ... " + "x" * 490 + ": too long"),
        (
            ModuleNotFoundError("No module named 'detectron2'", name="detectron2.config"),
            "this command needs Detectron2, which is not installed; run `insight install-detectron2` (docs/install.md)",
        ),
    ],
)
def test_what_the_user_can_correct_is_one_line_and_code_2(error, line, end_of):
    assert end_of(error, {"boxes": "--boxes"}) == (2, f"error: {line}\n")


@pytest.mark.parametrize(
    "error",
    [
        IndexError("ours"),
        KeyError("foo"),
        ValueError("foo"),
        TypeError("foo"),
        AssertionError("foo"),
        RuntimeError("shapes do not match"),
        ModuleNotFoundError("No module named 'insight.nope'", name="insight.nope"),
    ],
)
def test_a_bug_shows_its_traceback_and_asks_for_a_report(error, end_of):
    code, said = end_of(error)
    assert code == 1 and said.startswith("Traceback") and f"{type(error).__name__}: " in said
    assert said.endswith("This is a bug in insight; please report it with the output of `insight info`\n")


def test_ctrl_c_is_no_error(end_of):
    assert end_of(KeyboardInterrupt()) == (130, "interrupted\n")


def test_the_debug_variable_lets_errors_through(monkeypatch, end_of):
    monkeypatch.setenv("INSIGHT_DEBUG", "1")
    with pytest.raises(InputError, match="boxes"):
        end_of(InputError("boxes"))


def end_of_process(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


TERMINATED = """
import os, signal, sys
from insight.cli.reporting import report_errors

def work():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    finally:
        print("unwound")

sys.exit(report_errors(work))
"""


def test_a_terminated_command_unwinds_its_stack():
    assert end_of_process(TERMINATED) == (143, "unwound\n", "")


COVERED = """
import os, signal, sys
from insight.cli.reporting import report_errors

def work():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    except KeyboardInterrupt:
        pass
    raise ValueError("Invalid bounding box")  # as matplotlib's compiled code says when Python code that it calls fails

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(report_errors(lambda: report_errors(work)))
"""


def test_ctrl_c_under_an_error_of_compiled_code_is_one_line():
    assert end_of_process(COVERED) == (130, "", "interrupted\n")


INTERRUPTED_IMPORT = """
import os, signal, sys
from insight.cli.main import main

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(["info"]))
"""


DROPPED = """
import os, signal, sys, time
from insight.cli.reporting import report_errors

class Finalized:
    def __del__(self):  # Python prints what is raised here and goes on
        os.kill(os.getpid(), signal.{name})
        sum(range(1000))

def work():
    Finalized()
    time.sleep(20)
    print("went on")

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(report_errors(work))
"""


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_in_a_finalizer_is_not_lost(name, code):
    run = subprocess.run([sys.executable, "-c", DROPPED.format(name=name)], capture_output=True, text=True, timeout=60)
    assert run.returncode == code and "went on" not in run.stdout and "Traceback" not in run.stderr, run


def test_ctrl_c_while_torch_is_imported_is_one_line():
    assert end_of_process(INTERRUPTED_IMPORT) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(10**15),
        lambda: torch.empty(2**62),
        lambda: np.empty((10**7, 10**8)),
        lambda: bytearray(10**15),
        lambda: cv2.resize(np.zeros((4, 4), np.uint8), (10**6, 10**7)),
    ],
)
def test_memory_that_is_refused_is_one_line(ask, end_of):
    with pytest.raises(Exception) as refused:
        ask()
    code, said = end_of(refused.value, {})
    assert code == 2 and said.startswith("error: not enough memory") and said.endswith(f"{SMALLER}\n"), said
    assert len(said.splitlines()) == 1
