"""Commands as processes that start at once: forked from one that has imported everything.

As a program it reads a line of JSON for each command, [output file, words ...], and replies with its process id.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from insight.runtime.pids import is_running

ROOT = Path(__file__).resolve().parents[2]


class Command:
    """A command that runs in a process group of its own.

    Args:
        pid: id of the process, which leads its group.
        output: file of what it prints.
    """

    def __init__(self, pid: int, output: Path):
        self.pid, self.output, self._code = pid, output, output.with_suffix(".code")

    @property
    def running(self) -> bool:
        return is_running(self.pid)

    @property
    def code(self) -> int | None:
        """Its exit code, if it has ended by itself."""
        return int(self._code.read_text()) if self._code.is_file() else None

    def wait(self, seconds: float) -> bool:
        """Wait for its end; return whether it has ended."""
        end = time.monotonic() + seconds
        while self.running and time.monotonic() < end:
            time.sleep(0.01)
        return not self.running

    def signal(self, number: int, group: bool = True) -> None:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def left(self) -> list[int]:
        """The processes of its group that are still running."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError):
                if int(path.read_text().rpartition(")")[2].split()[2]) == self.pid and is_running(
                    int(path.parent.name)
                ):
                    found.append(int(path.parent.name))
        return found


class Zygote:
    """The process that commands are forked from."""

    def __init__(self, folder: Path):
        self.folder, self._count = folder, 0
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "helpers.zygote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip
        assert self._process.stdout.readline() == "ready\n"

    def start(self, words: Sequence) -> Command:
        """Start a command; when this returns, it has begun."""
        self._count += 1
        output = self.folder / f"{self._count}.out"
        self._process.stdin.write(json.dumps([str(output), *map(str, words)]) + "\n")
        self._process.stdin.flush()
        return Command(int(self._process.stdout.readline()), output)

    def run(self, words: Sequence, seconds: float = 120.0) -> Command:
        """Run a command to its end."""
        command = self.start(words)
        assert command.wait(seconds), command.output.read_text()
        return command

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)


@contextlib.contextmanager
def zygote(folder: Path) -> Iterator[Zygote]:
    """Keep such a process while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    one = Zygote(folder)
    try:
        yield one
    finally:
        one.close()


def _serve() -> None:
    # All that the commands import, so that none does it anew.
    import insight.annotation.run
    import insight.annotation.segmentation
    import insight.data.inspection.check
    import insight.data.inspection.foreground
    import insight.data.preparation.painted
    import insight.engine
    import insight.inference.file_predictor
    import insight.inference.files  # noqa: F401
    from insight.cli.main import main

    print("ready", flush=True)
    for line in sys.stdin:
        output, *words = json.loads(line)
        while True:  # those that have ended
            try:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    break
            except ChildProcessError:
                break
        reading, writing = os.pipe()
        if os.fork() == 0:
            _be(main, output, words, writing)
        os.close(writing)
        print(os.read(reading, 32).decode(), flush=True)
        os.close(reading)


def _be(main, output: str, words: list[str], ready: int) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["insight", *words]
    os.write(ready, str(os.getpid()).encode())
    os.close(ready)
    code = 70  # an exception that main let through
    try:
        code = main(words)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command has ended: no interrupt may keep its code from us
    except BaseException:
        import traceback

        if code == 70:
            traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        Path(output).with_suffix(".code").write_text(str(code))
        os._exit(code)


if __name__ == "__main__":
    _serve()
