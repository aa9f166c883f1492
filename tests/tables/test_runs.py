"""Which runs a table is made of, and where they lie."""

import os
import shutil

import pytest

from insight.engine.results import write_results
from insight.errors import InputError
from insight.tables.runs import plan_runs


def test_every_row_with_the_first_seed_then_with_the_next(description, read, tmp_path):
    description["rows"].append({"name": "as it is", "config": "tiny.yaml", "eval_only": True})
    runs = plan_runs(read(description), tmp_path / "runs", ["SOLVER.MAX_ITER", "9", "SOLVER.BASE_LR", "0.1"])
    assert [run.label for run in runs] == [
        "baseline, seed 1", "faster, seed 1", "as it is", "baseline, seed 2", "faster, seed 2",
    ]  # fmt: skip
    folder = tmp_path / "runs" / tmp_path.name
    assert [run.folder.relative_to(folder).as_posix() for run in runs] == [
        "tiny-seed1", "tiny-SOLVER.BASE_LR_0.01-seed1", "tiny-eval_only",
        "tiny-seed2", "tiny-SOLVER.BASE_LR_0.01-seed2",
    ]  # fmt: skip
    assert [run.cfg.SEED for run in runs] == [1, 1, 7, 2, 2]  # 7 is the config's own
    assert [run.cfg.SOLVER.BASE_LR for run in runs] == [0.1, 0.01, 0.1, 0.1, 0.01]  # a row's options count more
    assert all(run.cfg.SOLVER.MAX_ITER == 9 and str(run.folder) == run.cfg.OUTPUT_DIR for run in runs)


def test_a_data_set_that_a_row_is_not_evaluated_on_is_told_before_anything_runs(description, read, tmp_path):
    description["columns"]["box AP"] = "other_val/bbox/AP"
    with pytest.raises(
        ValueError, match="column 'box AP' needs other_val, but row 'baseline' is evaluated on small_val"
    ):
        plan_runs(read(description), tmp_path)


def test_an_option_that_is_none_names_its_row(description, read, tmp_path):
    description["rows"][1]["options"] = {"SOLVER.RATE": 1}
    with pytest.raises(ValueError, match="row 'faster': overrides: unknown config key SOLVER.RATE"):
        plan_runs(read(description), tmp_path)


def test_what_a_table_needs_must_be_given(description, read, tmp_path):
    description["needs"] = ["MODEL.WEIGHTS"]
    with pytest.raises(ValueError, match="the table needs a value for MODEL.WEIGHTS: add MODEL.WEIGHTS VALUE"):
        plan_runs(read(description), tmp_path)
    assert plan_runs(read(description), tmp_path, ["MODEL.WEIGHTS", "some.pth"])


@pytest.mark.parametrize("key", ["NOPE.X", "MODEL.X", "MODEL.WEIGHTS.X", "", "x" * 1000])
def test_a_need_that_is_no_config_key_is_one_line(description, read, tmp_path, key):
    description["needs"] = [key]
    with pytest.raises(InputError, match=f"^needs: unknown config key '{key[:60]}") as caught:
        plan_runs(read(description), tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_rows_name_recipes_and_parts(description, read, tmp_path):
    (tmp_path / "parts.yaml").write_text("SOLVER: {BASE_LR: 0.5}\n")
    description["rows"][0]["config"] = ["tiny.yaml", "cascade", "parts.yaml"]
    description["rows"][1] = {"name": "shipped", "config": ["nwpu_light", "lpm"]}
    description["columns"] = {"parameters": "parameters"}
    first, second = plan_runs(read(description), tmp_path / "runs")[:2]
    assert first.cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG and first.cfg.SOLVER.BASE_LR == 0.5
    assert first.folder == tmp_path / "runs" / tmp_path.name / "tiny+cascade+parts-seed1"
    assert second.cfg.MODEL.PROMPT.LPM.ENABLED and second.row.configs == ("nwpu_light", "lpm")
    assert second.folder == tmp_path / "runs" / "insight" / "nwpu_light+lpm-seed1"


def test_two_rows_that_are_one_run_are_told(description, read, tmp_path):
    del description["rows"][1]["options"]
    with pytest.raises(ValueError, match="rows 'baseline' and 'faster' are the same run"):
        plan_runs(read(description), tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        [{"MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 5}, {"MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 5}],
        [{"MODEL.WEIGHTS": "long/" * 60 + end} for end in "ab"],
    ],
    ids=["keys of one last word", "longer than a file system's names"],
)
def test_rows_of_different_options_are_different_runs(description, read, tmp_path, options):
    for row, chosen in zip(description["rows"], options):
        row["options"] = chosen
    folders = [run.folder for run in plan_runs(read(description), tmp_path)]
    assert len(set(folders)) == 4 and max(len(folder.name) for folder in folders) < 255


def test_steps_count_if_they_are_younger_than_the_run(description, read, finish, tmp_path):
    description["columns"]["after prompts"] = "small_val/missed/merged AP"
    run = plan_runs(read(description), tmp_path / "runs")[0]
    assert run.steps == ("missed",) and run.results() is None
    finish(run)
    assert run.results()["results"] == {"small_val": {"segm": {"AP": 10.0}}}
    write_results(run.folder / "missed.json", {"small_val": {"missed": {"merged AP": 11.0}}})
    assert run.results()["results"]["small_val"] == {"segm": {"AP": 10.0}, "missed": {"merged AP": 11.0}}
    os.utime(run.folder / "missed.json", (1, 1))
    assert run.step_results("missed") is None


def test_tables_share_runs(description, read, finish, tmp_path):
    finish(plan_runs(read(description), tmp_path / "runs")[0])
    description["title"], description["rows"][0]["name"] = "Another", "plain"
    assert plan_runs(read(description), tmp_path / "runs")[0].results()["iteration"] == 8
    shutil.rmtree(tmp_path / "runs")
    assert plan_runs(read(description), tmp_path / "runs")[0].results() is None
