"""Which processes are running."""

import os
import subprocess
import sys
import threading

import pytest

from insight.runtime.atomic_files import remove_left
from insight.runtime.pids import is_running


def test_this_process_and_a_child_are_running():
    assert is_running(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert is_running(child.pid)
        child.stdin.close()
    assert not is_running(child.pid)
    assert not is_running(2**40)


def test_a_killed_child_that_is_not_waited_for_is_not(tmp_path):
    child = subprocess.Popen(["sleep", "60"])
    (tmp_path / f".a.json.{child.pid}.tmp").touch()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended and stays a zombie
    assert not is_running(child.pid)
    remove_left(tmp_path)
    assert not list(tmp_path.iterdir())
    child.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have process IDs on Linux alone")
def test_a_thread_is_no_process():
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert thread.native_id != os.getpid()
        os.kill(thread.native_id, 0)  # succeeds, although no process has this ID
        assert not is_running(thread.native_id)
    finally:
        end.set()
        thread.join()
