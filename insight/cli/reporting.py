"""How every command ends: one line for what the user can correct, a traceback for a bug of ours."""

import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping

from insight.errors import InsightError
from insight.runtime.detectron2_install import advice
from insight.runtime.notices import silence_notices

BUG, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143  # exit codes, the last two as shells have them
_REPORT = "This is a bug in insight; please report it with the output of `insight info`"
_LONGEST = 1000  # characters of a line
_WORDS = {
    "skip_bad=True": "--skip-bad",
    "strict=False": "--skip-bad",
    "DATASETS.BAD skip ": "--skip-bad (DATASETS.BAD skip) ",
}


def print_error(text: str) -> None:
    """Print an error to standard error, as `printable` writes it."""
    print(f"error: {printable(text)}", file=sys.stderr)


def printable(text: str) -> str:
    """A line that may hold names from anywhere, for a terminal.

    Args:
        text: one line.

    Returns:
        The line. Of a very long one, such as names of thousands of characters, the middle is left out; characters that
        a terminal would obey are written as codes.
    """
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} ... {text[-half:]}"


def one_line(error: BaseException) -> str:
    """The message of an error in one line.

    Args:
        error: the error. If a data loading process raised it, its message holds the traceback of that process.
    """
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename is not None else ""
        return f"{named}{error.strerror}"
    # str(KeyError("x")) is "'x'"
    text = str(error.args[0]) if error.args else type(error).__name__
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    if "Original Traceback" in text:
        kind, _, said = lines[-1].partition(": ")
        return said or kind
    return " ".join(lines)


def in_flags(text: str, flags: Mapping[str, str]) -> str:
    """Translate a message of the library into the terms of the command line.

    Args:
        text: the message; if it is about an argument, it begins with the argument's name and a colon or index.
        flags: what the command line calls each argument, such as {"max_dets": "--max-dets", "name": "NAME"}.

    Returns:
        The message with `--max-dets` instead of `max_dets` at its beginning.
    """
    named = re.match(r"(\w+)(?=[:\[])", text)
    if named and named[1] in flags:
        text = flags[named[1]] + text[named.end() :]
    if "skip_bad" in flags:
        for word, option in _WORDS.items():
            text = text.replace(word, option)
    return text


def _is_expected(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    if isinstance(error, ModuleNotFoundError):
        return advice(error) is not None
    killed_by_the_system = isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")
    return isinstance(error, (InsightError, OSError)) or killed_by_the_system or _lacks_memory(error)


def _lacks_memory(error: Exception) -> bool:
    """Whether Python, NumPy, OpenCV or torch was refused memory of the machine."""
    text = str(error)
    refused = "DefaultCPUAllocator" in text or "Failed to allocate" in text or "Storage size calculation" in text
    return isinstance(error, MemoryError) or refused


def _message(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and (missing := advice(error)) is not None:
        return f"this command {missing}"
    if _lacks_memory(error):
        asked = re.search(r"allocate ([\d.]+ (?:bytes|[KMGTPE]iB))", str(error))
        reason = f" for {asked[1]}" if asked else ""
        return f"not enough memory{reason}: use smaller images, crops or batches, or fewer processes"
    return one_line(error)


def _end_of_child(error: Exception) -> int | None:
    """The exit code of the process whose end torch reports by this error, if it does."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, torch.multiprocessing.ProcessExitedException):
        return None
    if error.exit_code < 0:  # otherwise it has given its reason itself
        print_error(f"a training process was ended by signal {-error.exit_code}")
        return 128 - error.exit_code
    return error.exit_code


# Exit codes of the signals that have arrived: compiled code may put an error of its own over their exceptions.
_ended_by: list[int] = []


def _interrupt(number, frame):
    _ended_by.append(INTERRUPTED)
    raise KeyboardInterrupt


def _terminate(number, frame):
    if hasattr(signal, "SIGCHLD"):  # torch's handler raises when loading processes get the signal too
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _ended_by.append(TERMINATED)
    sys.exit(TERMINATED)


def _unraisable(dropped):
    """Send a signal again whose exception Python drops, as it does in callbacks of imports and in finalizers."""
    if not _ended_by or not issubclass(dropped.exc_type, (KeyboardInterrupt, SystemExit)):
        return sys.__unraisablehook__(dropped)
    if sys.is_finalizing():  # ends anyway
        return
    number = signal.SIGINT if dropped.exc_type is KeyboardInterrupt else signal.SIGTERM
    again = threading.Timer(0.01, os.kill, (os.getpid(), number))  # later: here it would be dropped once more
    again.daemon = True
    again.start()


def _prepare_process() -> None:
    sys.unraisablehook = _unraisable
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, in the background
        signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _terminate)
    silence_notices()
    logging.raiseExceptions = False  # a log line that cannot be written (a closed pipe) is no news
    logging.basicConfig(format="%(message)s")
    logging.getLogger("insight.runtime.progress").setLevel(logging.INFO)


def report_errors(work: Callable[[], int | None], flags: Mapping[str, str] | None = None, continues: str = "") -> int:
    """Do the work of a command and report how it ended.

    What the user can correct (InsightError, OSError, a package that is missing, memory that does not suffice) ends in
    one line, "error: ...". Everything else is a bug and ends in its traceback. The environment variable INSIGHT_DEBUG=1
    lets every error through.

    Args:
        work: the work; what it returns, if it is an int, is the exit code.
        flags: what the command line calls each argument, see `in_flags`.
        continues: how to resume, printed after Ctrl-C; empty if the command starts over.

    Returns:
        The exit code: that of `work`, 1 for a bug, 2 for what the user can correct, 130 after Ctrl-C and 143 after
        SIGTERM. In the last two cases the stack was unwound, so that temporary files are gone and logs are flushed.
    """
    if os.environ.get("INSIGHT_DEBUG") == "1":
        return work() or 0
    _prepare_process()
    interrupted = f"interrupted; {continues}" if continues else "interrupted"
    try:
        return work() or 0
    except SystemExit as ended:  # of argparse, or of SIGTERM
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if _ended_by:
            print(interrupted if _ended_by[-1] == INTERRUPTED else "terminated", file=sys.stderr)
            return _ended_by[-1]
        code = _end_of_child(error)
        if code is not None:
            return code
        if not _is_expected(error):
            traceback.print_exc()
            print(_REPORT, file=sys.stderr)
            return BUG
        print_error(in_flags(_message(error), flags or {}))
        return USAGE
