"""The tables of configs/tables: each can be made, and has columns of the datasets that its runs are evaluated on."""

import dataclasses
import json
from pathlib import Path

import pytest

from insight.cli.main import build_parser
from insight.config import shipped_tables
from insight.tables import read_table, table_setups
from insight.tables.runs import STEPS, plan_runs

ROOT = Path(__file__).resolve().parents[2]
TASKS = {"bbox", "segm", "prompted", *STEPS}
TABLES = [(name, setup) for name in shipped_tables() for setup in table_setups(name)]


@pytest.mark.parametrize("name, setup", TABLES, ids=map("_".join, TABLES))
def test_a_table_can_be_made(name, setup, tmp_path):
    table = read_table(name, setup)
    given = [value for key in table.needs for value in (key, "some.pth")]
    runs = plan_runs(dataclasses.replace(table, seeds=table.seeds[:1]), tmp_path, given)
    assert [run.row for run in runs] == list(table.rows)
    for column in table.columns:
        assert column.is_measure or column.path[1] in TASKS
    if any(column.title.endswith("APs") for column in table.columns):
        assert {f"area profile {run.cfg.TEST.AREA_PROFILE}, as in the paper" in table.note for run in runs} == {True}
    assert f"`{name}`" in (ROOT / "docs" / "tables.md").read_text()


@pytest.mark.real_data
@pytest.mark.parametrize("setup", ["nwpu", "nwpu_r50"])
def test_the_images_of_figure_11_are_there(setup, real_data):
    wanted = set(read_table("iai_fig11", setup).pictures.images)
    images = json.loads((real_data / "nwpu_vhr10" / "annotations" / "instances_val.json").read_text())["images"]
    assert wanted and wanted <= {image["file_name"] for image in images}


def test_every_table_says_what_it_is():
    assert [name for name, path in shipped_tables().items() if not path.read_text().startswith("# ")] == []


def test_every_step_is_a_measurement():
    for step in STEPS.values():
        words = ["measure", step, "--config-file", "a.yaml", "--output", "b.json"]
        assert build_parser().parse(words).parser.prog == f"insight measure {step}"
