import sys
from pathlib import Path

# benchmarks/ is a folder of scripts, not a package: `python benchmarks/run.py` finds its neighbours the same way.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
