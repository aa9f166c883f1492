"""Measure what importing insight, and some of its modules, adds to the import of torch, each in a fresh process."""

import argparse
import statistics
import subprocess
import sys

PROGRAM = """
import time
import torch
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def main() -> None:
    """Print the median of several runs of each module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="fresh processes for each module (default: %(default)s)")
    runs = parser.parse_args().runs
    for module in ("insight", "insight.ops", "insight.inference.sopseg_predictor", "insight.config"):
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM.format(module=module)]
        seconds = [
            float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(runs)
        ]
        print(f"{module:40s}{statistics.median(seconds):7.3f} s beyond torch")


if __name__ == "__main__":
    main()
