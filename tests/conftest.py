"""What every test shares: skipping what this machine cannot run, with the reason."""

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared" / "data"  # real images beside the repository
if SHARED.is_dir():  # before insight registers its datasets; not INSIGHT_DATA, into which scenes would be drawn
    os.environ.setdefault("DETECTRON2_DATASETS", str(SHARED))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images: INSIGHT_DATA, or shared/data beside the repository."""
    root = Path(os.environ.get("INSIGHT_DATA", SHARED))
    if not root.is_dir():
        pytest.skip(f"no real images at {root}; set INSIGHT_DATA")
    return root


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
