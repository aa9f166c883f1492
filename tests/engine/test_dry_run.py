"""A dry run tells the schedule, and leaves nothing behind."""

from pathlib import Path

import pytest

from insight.engine import dry_run


@pytest.mark.parametrize("kind", ["tiny_cfg", "prompted_cfg"])
def test_the_report_of_a_dry_run(request, kind):
    cfg = request.getfixturevalue(kind)
    cfg.SOLVER.MAX_ITER = 30
    before = sorted(Path(cfg.OUTPUT_DIR).rglob("*"))
    report = dry_run(cfg)
    assert sorted(Path(cfg.OUTPUT_DIR).rglob("*")) == before
    samples, batch = report["training samples"], report["samples per step"]
    assert (report["steps"], batch, report["processes"]) == (30, cfg.SOLVER.IMS_PER_BATCH, 1)
    assert report["epochs"] == pytest.approx(30 * batch / samples, abs=0.01)
    assert report["validation every (steps)"] == -(-samples // batch)
    assert report["seconds per step"] > 0 and report["training (hours)"] == pytest.approx(
        30 * report["seconds per step"] / 3600, abs=0.01
    )
    assert report["seconds per test image"] > 0 and report["memory (GiB)"] > 0.1
