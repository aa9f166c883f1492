"""Work in several processes: order, errors, and that no process outlives the work, however that ends."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from helpers.waiting import wait_until

from insight.runtime.atomic_files import atomic_write
from insight.runtime.pids import is_running
from insight.runtime.processes import map_in_processes


def squared(item):
    time.sleep(random.Random(item).uniform(0, 0.01))
    if item in (13, 17):
        raise KeyError(f"item {item}")
    if item == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return item**2, os.getpid()


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def fails_oddly(item):
    raise Unpicklable(item, 2)


def run(function, items):
    return map_in_processes(function, items, "Squaring", "item")


@pytest.fixture(autouse=True)
def no_worker_is_left():
    before = multiprocessing.active_children()  # an earlier test's data loader may not have been collected yet
    yield
    assert set(multiprocessing.active_children()) <= set(before)


def test_results_come_in_order_from_as_many_processes_as_cores():
    results = list(run(squared, [*range(13), 1000, *range(14, 17)]))
    assert [square for square, _ in results] == [*(i * i for i in range(13)), 10**6, *(i * i for i in range(14, 17))]
    workers = {worker for _, worker in results}
    assert os.getpid() not in workers and len(workers) <= len(os.sched_getaffinity(0))
    assert list(run(squared, [])) == []


def test_the_first_error_in_order_of_the_items_is_raised():
    found = []
    with pytest.raises(KeyError, match="item 13") as caught:
        for square, _ in run(squared, [1, 2, 13, 17, 3]):
            found.append(square)
    assert found == [1, 4] and "in squared" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Unpicklable: 5"):
        list(run(fails_oddly, [5]))


def test_a_worker_that_is_killed_is_an_error_and_no_hang():
    with pytest.raises(OSError, match=r"Squaring: a worker process ended unexpectedly \(exit code -9; .*memory"):
        list(run(squared, [1, 2, 99, 3]))


def test_an_iteration_that_is_abandoned_leaves_nothing():
    results = run(squared, range(1000, 2000))
    next(results)
    results.close()


# A tool, with its handler of SIGTERM; each worker writes its number and starts one item after the other.
TOOL = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores, for whatever it starts
sys.modules["detectron2"] = None
from insight.runtime.atomic_files import atomic_write
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


# Starts a tool for each line it reads, then prints the exit code. Tools are forked, as most of a new process would be
# imports. Many short items with results of many sizes; the process group is interrupted as a terminal does it.
INTERRUPTED = """
import os, signal, sys
sys.modules["detectron2"] = None
from insight.runtime.processes import map_in_processes
def work(item):
    with open(f"pid{os.getpid()}", "w"):
        pass
    return bytes(item % 7 * 20_000)
def tool():
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    print(os.getpid(), flush=True)
    try:
        while True:
            list(map_in_processes(work, range(500), "", "item"))
    except KeyboardInterrupt:
        sys.exit(130)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        tool()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups")
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_at_any_time_ends_it_at_once(tmp_path, number, code):
    """A pool with shared queues hung in 24 of 30 such interrupts: a worker's death made it send SIGTERM to the others,
    whose handler's SystemExit counted as the result of an item."""
    seed = random.randrange(2**32)
    print("seed", seed)
    generator = random.Random(seed)
    forks = subprocess.Popen([sys.executable, "-c", INTERRUPTED], cwd=tmp_path, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    with forks:
        for _ in range(40):
            forks.stdin.write("one more\n")
            forks.stdin.flush()
            tool = int(forks.stdout.readline())
            try:
                time.sleep(generator.uniform(0.01, 0.8))
                (os.killpg if number == signal.SIGINT else os.kill)(tool, number)
                wait_until(lambda: not is_running(tool), seconds=15)  # noqa: B023
                assert int(forks.stdout.readline()) == code
                wait_until(lambda: not any(is_running(int(p.name[3:])) for p in tmp_path.glob("pid*")))
            finally:
                if is_running(tool):
                    os.killpg(tool, signal.SIGKILL)
        forks.stdin.close()


def write_slowly(path):
    with atomic_write(path) as file:
        file.write("half")
        time.sleep(30)


def test_workers_that_are_ended_remove_their_temporary_files(tmp_path):
    paths = [tmp_path / name for name in ("a", "1", "2", "3")]
    results = map_in_processes(instant_or_slow, paths, "Writing", "file", workers=2)
    assert next(results) == "done"
    wait_until(lambda: any(tmp_path.iterdir()))
    results.close()
    assert not list(tmp_path.iterdir())


def touch(path):
    path.touch()
    return bytes(2**20)  # more than a pipe holds


def test_a_worker_goes_on_while_its_results_are_used(tmp_path):
    paths = [tmp_path / name for name in "abcde"]
    results = map_in_processes(touch, paths, "Touching", "file", workers=1)
    next(results)
    wait_until(paths[1].exists)
    assert [len(result) for result in results] == [2**20] * 4


class Large:
    """An item that no pipe holds; a worker may be busy when it is sent."""

    def __init__(self, number):
        self.number, self.content = number, bytes(2**22)


def number_of(item):
    return item.number, item.content


def test_large_items_and_large_results_do_not_wait_for_each_other():
    results = map_in_processes(number_of, map(Large, range(9)), "Counting", "item", workers=2)
    assert [number for number, _ in results] == list(range(9))


def instant_or_slow(path):
    return "done" if path.name == "a" else write_slowly(path)


def test_the_last_result_leaves_nothing_to_end():
    before = multiprocessing.active_children()
    results = map_in_processes(str, [1, 2], "Counting", "number")
    assert [next(results), next(results)] == ["1", "2"]
    assert set(multiprocessing.active_children()) <= set(before)
