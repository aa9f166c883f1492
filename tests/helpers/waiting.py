"""Waiting for what another thread or process does."""

import time


def wait_until(condition, seconds=60):
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("timed out")
