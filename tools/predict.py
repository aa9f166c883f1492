#!/usr/bin/env python
"""The command `insight predict`."""

import sys

from insight.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
