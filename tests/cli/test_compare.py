"""Which models tools/compare.py takes its --runs for; its pictures are in test_prompt_missed.py."""

import pytest


@pytest.mark.parametrize("run", ["with, comma", "with, comma/config.yaml"])
def test_a_run_that_is_there_is_not_taken_apart_at_its_comma(run_tool, tmp_path, run):
    (tmp_path / "with, comma").mkdir()
    (tmp_path / "with, comma" / "config.yaml").write_text("DATASETS:\n  TEST: []\n")
    done = run_tool("compare", "--runs", f"n={tmp_path}/{run}", "--output", tmp_path / "out")
    assert done.code == 2 and "no data set: give --dataset NAME" in done.err
