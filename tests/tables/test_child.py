"""Commands end with the process that started them, and take theirs with them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = Path(__file__).resolve().parents[2] / "insight" / "tables" / "child.py"

# A sweep in a process of its own, whose command starts a process too; both write their numbers, as fast as they can.
WORKER = """
import os, subprocess, sys, time
if len(sys.argv) > 1:
    subprocess.Popen([sys.executable, __file__])
with open(f"pid{os.getpid()}", "w"):
    pass
time.sleep(60)
"""
PARENT = f"""
import runpy, signal, sys, time
from pathlib import Path
child = runpy.run_path({str(CHILD)!r})["child"]
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
with child([sys.executable, "worker.py", "parent"], Path("log.txt")) as process:
    time.sleep(60)
"""


def wait_until(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("timed out")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.is_file() or state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
@pytest.mark.parametrize("number, processes", [(signal.SIGKILL, 1), (signal.SIGTERM, 2), (signal.SIGINT, 2)])
def test_nothing_is_left(tmp_path, number, processes):
    (tmp_path / "worker.py").write_text(WORKER)
    program = PARENT if processes == 2 else PARENT.replace(', "parent"]', "]")
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
    import runpy

    child = runpy.run_path(str(CHILD))["child"]
    with child([sys.executable, "-c", "print('words'); raise SystemExit(5)"], tmp_path / "log.txt") as process:
        process.wait(60)
    assert process.returncode == 5 and (tmp_path / "log.txt").read_text() == "words\n"
