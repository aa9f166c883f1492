"""Processes that end with their parent, even if it is killed.

As a program, `following.py PARENT COMMAND ...`, it becomes the command, a program by its path and arguments. It imports
nothing of this package, so that it starts at once.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of Linux' prctl.h; the setting outlives exec


def follow(parent: int, number: int) -> None:
    """Have the kernel send this process a signal when its parent ends. Linux only.

    Args:
        parent: process number of the parent.
        number: number of the signal.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it went before the kernel was asked
        os.kill(os.getpid(), number)


if __name__ == "__main__":
    follow(int(sys.argv[1]), signal.SIGTERM)
    os.execv(sys.argv[2], sys.argv[2:])
