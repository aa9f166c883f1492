#!/usr/bin/env python
"""The command `insight analyse`."""

import sys

from insight.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["analyse", *sys.argv[1:]]))
