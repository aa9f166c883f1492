"""`insight install-detectron2`: bring Detectron2's Python part into this environment."""

import sys

from insight.errors import InsightError
from insight.runtime.detectron2_install import install


def main() -> None:
    """Install Detectron2 unless it imports already."""
    try:
        installed = install()
    except InsightError as error:
        sys.exit(f"error: {error}")
    print("Detectron2 is installed (its Python part)" if installed else "Detectron2 is installed already")


if __name__ == "__main__":
    main()
