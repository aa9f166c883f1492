#!/usr/bin/env python
"""The command `insight annotate`."""

import sys

from insight.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["annotate", *sys.argv[1:]]))
