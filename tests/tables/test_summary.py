"""Cells of a table, against numbers worked out by hand."""

import dataclasses
import json
import math

import cv2
import pytest

from insight.tables.runs import plan_runs
from insight.tables.summary import summarize
from insight.tables.write import markdown, write_table


@pytest.fixture
def runs(description, read, finish, tmp_path):
    """All four runs of the table, finished; its description is read anew by `again`."""
    runs = plan_runs(read(description), tmp_path / "runs")
    for run, (ap, bar) in zip(runs, [(10, 4), (13, math.nan), (12, 6), (17, math.nan)]):
        finish(run, {"AP": float(ap), "AP-bar": float(bar), "AP-square": 2.0 * ap})
    return runs


@pytest.fixture
def summary_of(read, description, tmp_path, runs):
    def summary_of(measures=None, **changes):
        table = read({**description, **changes})
        return summarize(table, plan_runs(table, tmp_path / "runs"), measures or {})

    return summary_of


def test_mean_deviation_and_gain(summary_of):
    (first,), (second,) = summary_of().cells
    assert first.values == (10.0, 12.0) and second.values == (13.0, 17.0)
    assert (first.mean, first.gain) == (11.0, None) and first.deviation == pytest.approx(math.sqrt(2))
    assert (second.mean, second.gain) == (15.0, 4.0) and second.deviation == pytest.approx(math.sqrt(8))


def test_classes_without_truth_and_runs_that_are_not_there(summary_of, runs, made):
    (runs[3].folder / "results.json").unlink()
    summary = summary_of(columns={"bar": "small_val/segm/AP-bar", "AP": "small_val/segm/AP"})
    bar, ap = summary.cells[1]
    assert bar.mean is None and len(bar.values) == 1
    assert (ap.mean, ap.deviation, ap.gain) == (13.0, None, 2.0)
    text = markdown(summary, "make it", made)
    assert "| faster | no ground truth | 13.00 (+2.00) |" in text and "3 of 4 runs are complete" in text


def test_gains_over_another_row_than_the_first(summary_of, description, made):
    baseline, faster = description["rows"]
    summary = summary_of(rows=[{**baseline, "over": "faster"}, {**faster, "over": "faster"}])
    assert [cells[0].gain for cells in summary.cells] == [-4.0, None]
    assert "the gain over the first row; baseline: over faster;" in markdown(summary, "make it", made)


def test_a_star_is_a_column_for_each_class(summary_of):
    summary = summary_of(columns={"AP of *": "small_val/segm/AP-*", "parameters": "parameters"})
    assert [c.title for c in summary.columns] == ["AP of bar", "AP of square", "parameters"]
    assert summary.cells[0][1].values == (20.0, 24.0) and summary.cells[0][2].values == ()


def test_a_row_may_lack_what_a_star_stands_for(summary_of, runs, finish, made):
    for run in runs[1::2]:
        finish(run, {"AP": 1.0, "AP-disc": 3.0})
    summary = summary_of(columns={"AP of *": "small_val/segm/AP-*"})
    rows = [line for line in markdown(summary, "make it", made).splitlines() if line.startswith("| ")]
    assert rows[0].startswith("|  | AP of bar | AP of square | AP of disc |")
    assert rows[-2].endswith("22.00 ± 2.83 | - |") and rows[-1].startswith("| faster | - | - | 3.00 ± 0.00 |")


def test_what_is_too_wide_for_a_page_stands_below_each_other(summary_of, made):
    def table(count):
        summary = summary_of(columns={f"AP {k}": "small_val/segm/AP" for k in range(count)})
        return [line for line in markdown(summary, "make it", made).splitlines() if line.startswith("|")]

    assert table(12)[0].startswith("|  | AP 0 | AP 1 |") and len(table(12)) == 4
    transposed = table(13)
    assert transposed[0] == "|  | baseline | faster |" and len(transposed) == 15
    assert transposed[14] == "| AP 12 | 11.00 ± 1.41 | 15.00 ± 2.83 (+4.00) |"


def test_a_metric_that_no_run_has_is_one_line_with_those_that_it_has(summary_of):
    said = "column 'x': row 'baseline' has no small_val/segm/AP-ship, only AP, AP-bar"
    with pytest.raises(ValueError, match=said):
        summary_of(columns={"x": "small_val/segm/AP-ship"})
    with pytest.raises(ValueError, match="no small_val/bbox/AP, only the tasks segm"):
        summary_of(columns={"x": "small_val/bbox/AP"})


def test_measures_have_no_gain(summary_of):
    measures = {("baseline", "parameters"): 44.1, ("faster", "parameters"): 46.4}
    summary = summary_of(measures, columns={"M": "parameters"})
    assert summary.cells[1][0].mean == 46.4 and summary.cells[1][0].gain is None


@pytest.mark.parametrize(
    "plot",
    [
        {},
        {"columns": ["AP of *"]},
        {"kind": "lines", "x": [14, 28], "label": "S_ps", "columns": ["AP"], "right": ["M"]},
        {"kind": "lines", "along": "columns", "x": [0, 1], "columns": ["AP", "AP of square"]},
    ],
)
def test_files(summary_of, tmp_path, plot, made):
    columns = {"AP": "small_val/segm/AP", "AP of *": "small_val/segm/AP-*", "M": "parameters"}
    if plot.get("along") == "columns":
        columns = {"AP": "small_val/segm/AP", "AP of square": "small_val/segm/AP-square"}
    summary = summary_of({("baseline", "parameters"): 44.1}, columns=columns, plot=plot, note="A | note.")
    paths = write_table(summary, tmp_path / "out", "insight table x.yaml", made)
    assert [p.name for p in paths] == ["table.md", "table.json", "table.png"]
    text = paths[0].read_text()
    assert text.startswith("# Tiny\n") and "A | note." in text and "`insight table x.yaml`" in text
    for said in (
        "| baseline | 11.00 ± 1.41 ",
        "seeds (1, 2)",
        "4 of 4 runs",
        "commit abc",
        "torch 2.14",
        "2026-11-22",
        "two",
    ):
        assert said in text
    content = json.loads(paths[1].read_text(), parse_constant=lambda name: pytest.fail(name))
    row = content["rows"][1]
    assert row["cells"]["AP"] == {
        "values": [13.0, 17.0], "mean": 15.0, "deviation": pytest.approx(math.sqrt(8)), "gain": 4.0,
    }  # fmt: skip
    assert [run["results"]["small_val"]["segm"]["AP"] for run in row["runs"]] == [13.0, 17.0]
    assert [run["results"]["small_val"]["segm"]["AP-bar"] for run in row["runs"]] == [None, None]
    assert cv2.imread(str(paths[2])).shape[0] > 300


def test_a_name_with_a_dot_is_kept_whole(summary_of, tmp_path, made):
    summary = summary_of()
    summary = dataclasses.replace(summary, table=dataclasses.replace(summary.table, name="table.v2"))
    names = [path.name for path in write_table(summary, tmp_path, "c", made)]
    assert names == ["table.v2.md", "table.v2.json", "table.v2.png"]


def test_without_a_number_there_is_no_picture(summary_of, runs, tmp_path, made):
    for run in runs:
        (run.folder / "results.json").unlink()
    assert [p.name for p in write_table(summary_of(), tmp_path / "out", "c", made)] == ["table.md", "table.json"]
    assert "| faster | - |" in (tmp_path / "out" / "table.md").read_text()
