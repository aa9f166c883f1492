#!/usr/bin/env python
"""The command `insight plot`."""

import sys

from insight.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["plot", *sys.argv[1:]]))
