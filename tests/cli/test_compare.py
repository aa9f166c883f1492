"""Which models `insight compare` takes its --runs for; its pictures are in test_measure.py."""

import pytest


@pytest.mark.parametrize("run", ["with, comma", "with, comma/config.yaml"])
def test_a_run_that_is_there_is_not_taken_apart_at_its_comma(insight, tmp_path, run):
    (tmp_path / "with, comma").mkdir()
    (tmp_path / "with, comma" / "config.yaml").write_text("DATASETS:\n  TEST: []\n")
    (tmp_path / "with, comma" / "model_final.pth").touch()
    done = insight("compare", "--runs", f"n={tmp_path}/{run}", "--output", tmp_path / "out")
    assert done.code == 2 and "error: --dataset: expected the name of a dataset" in done.err


def test_a_run_that_is_not_there_is_reported_as_a_folder(insight, tmp_path):
    done = insight("compare", "--runs", "ours=output/nothing", "--output", tmp_path / "out")
    said = "error: --runs: ours: expected the folder of a training run, or CONFIG,WEIGHTS, got 'output/nothing': no"
    assert done.code == 2 and f"{said} such folder" in done.err
