import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader

from insight.cli.reporting import one_line, reports_errors


class Broken:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise ValueError("/data/a.png: truncated image")


def test_one_line_of_an_error_from_a_loading_process_is_what_that_process_said():
    with pytest.raises(ValueError) as caught:
        next(iter(DataLoader(Broken(), num_workers=1)))
    assert "Traceback" in str(caught.value)
    assert one_line(caught.value) == "/data/a.png: truncated image"


@pytest.mark.parametrize(
    "error, line",
    [
        (KeyError("Non-existent config key: A.B"), "Non-existent config key: A.B"),
        (ValueError("two\n  lines"), "two lines"),
        (FileNotFoundError(2, "No such file or directory", "a.json"), "a.json: No such file or directory"),
        (OSError("cannot read"), "cannot read"),
        (ValueError(), "ValueError"),
    ],
)
def test_one_line(error, line):
    assert one_line(error) == line


def test_arguments_and_the_result_pass_through():
    @reports_errors
    def main(a, b=1):
        return a + b

    assert main(1, b=2) == 3


def end_of(error, monkeypatch, capsys):
    """Exit code and standard error of a tool that raises `error`."""
    monkeypatch.setattr("signal.signal", lambda number, handler: None)  # would outlive the test

    @reports_errors
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "error, line",
    [
        (ValueError("boxes[0] is inverted"), "boxes[0] is inverted"),
        (AssertionError("Override list has odd length"), "Override list has odd length"),
        (FileNotFoundError(2, "No such file or directory", "a.json"), "a.json: No such file or directory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "CUDA out of memory"),
        (RuntimeError("DataLoader worker (pid 1) is killed"), "DataLoader worker (pid 1) is killed"),
    ],
)
def test_an_expected_error_is_one_line_and_code_2(error, line, monkeypatch, capsys):
    assert end_of(error, monkeypatch, capsys) == (2, f"error: {line}\n")


@pytest.mark.parametrize("error", [IndexError("ours"), AssertionError(), RuntimeError("shapes do not match")])
def test_a_bug_keeps_its_traceback(error, monkeypatch, capsys):
    with pytest.raises(type(error)):
        end_of(error, monkeypatch, capsys)


def test_ctrl_c_is_no_error(monkeypatch, capsys):
    assert end_of(KeyboardInterrupt(), monkeypatch, capsys) == (130, "interrupted\n")


def test_the_debug_variable_shows_the_traceback(monkeypatch, capsys):
    monkeypatch.setenv("INSIGHT_DEBUG", "1")
    with pytest.raises(ValueError, match="boxes"):
        end_of(ValueError("boxes"), monkeypatch, capsys)


TERMINATED = """
import os, signal
from insight.cli.reporting import reports_errors

@reports_errors
def main():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    finally:
        print("unwound")

main()
"""


def test_a_terminated_tool_unwinds_its_stack():
    done = subprocess.run([sys.executable, "-c", TERMINATED], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, "unwound\n", "")
