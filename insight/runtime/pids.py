"""Process IDs."""

import os
import sys
from pathlib import Path


def is_running(pid: int) -> bool:
    """Return whether a process is running.

    Args:
        pid: its ID.

    Returns:
        Whether it is; True where that cannot be known (on Windows). A process that was killed and that its parent has
        not waited for is not running, and neither is one whose ID has become that of another process's thread.
    """
    if sys.platform == "win32":  # where signal 0 is no harmless one
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except ProcessLookupError:  # it ended just now
        return False
    except OSError:  # no Linux, or hidden
        return True
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    return status.get("State", "").split()[:1] not in (["Z"], ["X"]) and int(status.get("Tgid", pid)) == pid
