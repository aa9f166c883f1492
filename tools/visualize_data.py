#!/usr/bin/env python
"""The command `insight data show`, under the name that Detectron2 users know."""

import sys

from insight.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["data", "show", *sys.argv[1:]]))
