import os
import subprocess
import sys

import pytest
from torch.utils.data import DataLoader

from insight.errors import one_line, reports_errors


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


def run_tool(body, **environment):
    head = "import os, signal\nfrom insight.errors import reports_errors\n@reports_errors\ndef main():\n    "
    code = f"{head}{body}\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_an_expected_error_is_one_line_and_code_2():
    done = run_tool("raise ValueError('boxes[0] is inverted')")
    assert (done.returncode, done.stderr) == (2, "error: boxes[0] is inverted\n")


@pytest.mark.parametrize("body", ["raise IndexError('ours')", "assert 1 == 2"])
def test_a_bug_keeps_its_traceback(body):
    done = run_tool(body)
    assert done.returncode == 1 and "Traceback" in done.stderr


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_unwinds_the_stack(name, code):
    done = run_tool(f"try: os.kill(os.getpid(), signal.{name}); signal.pause()\n    finally: print('unwound')")
    assert (done.returncode, done.stdout) == (code, "unwound\n")
    assert "Traceback" not in done.stderr


def test_the_debug_variable_shows_the_traceback():
    done = run_tool("raise ValueError('x')", INSIGHT_DEBUG="1")
    assert done.returncode == 1 and "Traceback" in done.stderr
