"""How every tool ends: in one line where the user can do something about it, in a traceback where only we can."""

import functools
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable

import torch

# What bad input, files, config and machines raise, here and in Detectron2. Anything else is a bug of ours.
EXPECTED = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AssertionError,
    ImportError,
    FloatingPointError,
    torch.OutOfMemoryError,
)
USAGE, INTERRUPTED, TERMINATED = 2, 130, 143  # exit codes, as shells know them


def one_line(error: BaseException) -> str:
    """What an error says, without its traceback.

    Args:
        error: the error; one that a data-loading process raised carries that process's traceback in its message.

    Returns:
        One line.
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


def _is_expected(error: Exception) -> bool:
    if isinstance(error, AssertionError):
        return bool(error.args)  # without a message it is for us
    killed_by_the_system = isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")
    return isinstance(error, EXPECTED) or killed_by_the_system


def _terminate(number, frame):
    if hasattr(signal, "SIGCHLD"):  # torch's handler raises when loading processes get the signal too
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.exit(TERMINATED)


def reports_errors(main: Callable) -> Callable:
    """Decorate a tool's `main` so that expected errors end in "error: ..." and an exit code, without a traceback.

    Exit codes: 2 for what the user can correct, 130 after Ctrl-C, 143 after SIGTERM (the stack is unwound, so that
    temporary files go and logs are flushed). The environment variable INSIGHT_DEBUG=1 shows every traceback.

    Args:
        main: the function; its return value, if an int, is its exit code.

    Returns:
        The decorated function, with the same arguments.
    """

    @functools.wraps(main)
    def run(*args, **kwargs):
        if os.environ.get("INSIGHT_DEBUG") == "1":
            return main(*args, **kwargs)
        signal.signal(signal.SIGTERM, _terminate)
        # What Detectron2's code makes torch say, and no user can change.
        warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)
        logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
        logging.raiseExceptions = False  # a log line that cannot be written (a closed pipe) is no news
        # Detectron2's loop logs the traceback of an error that it then raises.
        logging.getLogger("detectron2.engine.train_loop").addFilter(lambda record: record.exc_info is None)
        try:
            return main(*args, **kwargs)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(INTERRUPTED)
        except torch.multiprocessing.ProcessExitedException as error:
            sys.exit(error.exit_code)  # the child has said why
        except Exception as error:
            if not _is_expected(error):
                raise
            print(f"error: {one_line(error)}", file=sys.stderr)
            sys.exit(USAGE)

    return run
