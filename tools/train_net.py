#!/usr/bin/env python
"""The command `insight train`, under the name that Detectron2 users know."""

import sys

from insight.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
