"""The processes that work on files end with the one that started them."""

import os
import signal
import subprocess
import sys

import pytest
from helpers.running import is_running, wait_until

# A tool, with its handler of SIGTERM; each worker writes its number and starts one item after the other.
TOOL = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores, for whatever it starts
sys.modules["detectron2"] = None
from insight.runtime.processes import map_in_processes
def work(item):
    with open(f"pid{os.getpid()}", "w"):
        pass
    time.sleep(1)
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
list(map_in_processes(work, range(1000), "", "item"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_nothing_is_left(tmp_path, number):
    tool = subprocess.Popen([sys.executable, "-c", TOOL], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(list(tmp_path.glob("pid*"))) == len(os.sched_getaffinity(0)))
        tool.send_signal(number)
        assert tool.wait(60) == -number
        wait_until(lambda: not any(is_running(int(p.name[3:])) for p in tmp_path.glob("pid*")))
    finally:
        tool.kill()
        for path in tmp_path.glob("pid*"):
            if is_running(int(path.name[3:])):
                os.kill(int(path.name[3:]), signal.SIGKILL)
