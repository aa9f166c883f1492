"""Waiting for what another thread or process does."""

import time


def wait_until(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("timed out")
