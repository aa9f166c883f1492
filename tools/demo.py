#!/usr/bin/env python
"""The command `insight demo`."""

import sys

from insight.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
