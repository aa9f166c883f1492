"""Commands end with the process that started them, and take theirs with them."""

import os
import signal
import subprocess
import sys

import pytest
from helpers.waiting import wait_until

from insight.runtime import following
from insight.runtime.child import child
from insight.runtime.pids import is_running

# A sweep in a process of its own, whose command starts a process too; both write their numbers, as fast as they can.
WORKER = """
import os, subprocess, sys, time
if len(sys.argv) > 1:
    subprocess.Popen([sys.executable, __file__])
with open(f"pid{os.getpid()}", "w"):
    pass
time.sleep(90)  # longer than the test waits for its end
"""
PARENT = """
import signal, subprocess, sys, time
from pathlib import Path
from insight.runtime.child import child
class Slow(subprocess.Popen):  # the processes run before it returns
    def __init__(self, *command, **options):
        super().__init__(*command, **options)
        time.sleep(2)
if SLOW:
    subprocess.Popen = Slow
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
with child([sys.executable, "worker.py", "parent"], Path("log.txt")) as process:
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
@pytest.mark.parametrize(
    "number, processes, slow",
    [(signal.SIGKILL, 1, False), *((n, 2, slow) for n in (signal.SIGTERM, signal.SIGINT) for slow in (False, True))],
)
def test_nothing_is_left(tmp_path, number, processes, slow):
    (tmp_path / "worker.py").write_text(WORKER)
    program = PARENT.replace("SLOW", str(slow))
    if processes == 1:
        program = program.replace(', "parent"]', "]")
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(list(tmp_path.glob("pid*"))) == processes)
        parent.send_signal(number)
        parent.wait(60)
        wait_until(lambda: not any(is_running(int(p.name[3:])) for p in tmp_path.glob("pid*")))
    finally:
        parent.kill()
        for path in tmp_path.glob("pid*"):
            if is_running(int(path.name[3:])):
                os.kill(int(path.name[3:]), signal.SIGKILL)


def test_output_and_exit_code(tmp_path):
    with child([sys.executable, "-c", "print('words'); raise SystemExit(5)"], tmp_path / "log.txt") as process:
        process.wait(60)
    assert process.returncode == 5 and (tmp_path / "log.txt").read_text() == "words\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
def test_a_command_whose_parent_is_gone_already_does_not_begin():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(60)
    command = [sys.executable, following.__file__, str(gone.pid), sys.executable, "-c", "print('begun')"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "", "")
