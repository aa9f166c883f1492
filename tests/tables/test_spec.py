"""Descriptions of tables: what they say, and one line for each mistake."""

import copy

import pytest

from insight.tables import Column, Pictures, Plot


def test_a_description_is_read_with_its_defaults(description, read, tmp_path):
    table = read(description)
    assert (table.name, table.title, table.seeds, table.note) == ("table", "Tiny", (1, 2), "")
    assert [row.name for row in table.rows] == ["baseline", "faster"]
    assert table.rows[0].config == tmp_path / "tiny.yaml" and not table.rows[0].eval_only
    assert table.rows[1].options == {"SOLVER.BASE_LR": 0.01}
    assert table.columns == (Column("mask AP", "small_val/segm/AP"),) and table.plot == Plot()
    assert table.pictures is None
    description["pictures"] = {"images": [604, "a.png"], "prompted": True}
    assert read(description).pictures == Pictures(("604", "a.png"), 8, True)
    del description["seeds"]
    assert read(description).seeds == (1,)


def test_a_metric_may_hold_slashes_and_one_star(description, read):
    description["columns"] = {"*": "small_val/segm/AP-*", "odd": "small_val/segm/AP-a/b", "MACs": "gmacs/10"}
    columns = read(description).columns
    assert [c.is_measure for c in columns] == [False, False, True]
    assert columns[1].path == ("small_val", "segm", "AP-a/b")


def changed(description, *path, to):
    description = copy.deepcopy(description)
    node = description
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = to
    return description


MISTAKES = [
    (("title",), 3, "table.yaml: title: expected text, got 3"),
    (("rows",), [], "rows: expected at least one"),
    (("rows", 0), "baseline", "table.yaml: row 1: expected KEY: VALUE pairs of name, config"),
    (("rows", 0), {"name": "a"}, "row 1: config is missing"),
    (("rows", 1, "name"), "baseline", "no name twice, got baseline, baseline"),
    (("rows", 1, "config"), "absent.yaml", "row 2 (faster): config: no such file"),
    (("rows", 1, "option"), {}, "row 2: there is no key 'option'; expected name, config, options, eval_only, over"),
    (("rows", 1, "eval_only"), "yes", "row 2: eval_only: expected True or False, got 'yes'"),
    (("rows", 1, "over"), "slower", "row 'faster': over: there is no row 'slower'"),
    (("columns",), {}, "columns: expected at least one"),
    (("columns", "AP"), "segm/AP", "column 'AP': expected DATA SET/TASK/METRIC"),
    (("columns", "AP"), "some_val/segm/APX", "APl or AP-CLASS of some_val/segm, got 'APX'"),
    (("columns", "AP"), 3, "column 'AP': expected DATA SET/TASK/METRIC"),
    (("columns", "AP"), "small_val/segm/AP-*", "a * must be in both the title and the metric"),
    (("columns", "MACs"), "gmacs", "column 'MACs': expected"),
    (("columns", "MACs"), "gmacs/ten", "column 'MACs': expected"),
    (("seeds",), [1, 1], "seeds: expected different whole numbers"),
    (("seeds",), [-1], "seeds: expected different whole numbers"),
    (("seeds",), ["1"], "seeds: expected different whole numbers"),
    (("pictures",), 8, "pictures: expected KEY: VALUE pairs, got 8"),
    (("pictures",), {"images": "a.png"}, "pictures: images: expected a list, got 'a.png'"),
    (("pictures",), {"images": ["a.png"], "worst": True}, "pictures: worst: not together with images, which are a.png"),
    (("pictures",), {"count": 0}, "pictures: count: expected a whole number from 1 up, got 0"),
    (("plot",), {"kind": "pie"}, "plot: expected kind bars or lines"),
    (("plot",), {"columns": ["box AP"]}, "plot: there is no column 'box AP'; they are mask AP"),
    (("plot",), {"kind": "lines", "x": [1]}, "plot: x: expected a number for each of the 2 rows, got [1]"),
    (("plot",), {"kind": "lines", "along": "columns", "x": ["a"]}, "a number for each of the 1 columns"),
]


@pytest.mark.parametrize("path, to, said", MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_a_mistake_is_one_line(description, read, path, to, said):
    with pytest.raises(ValueError) as caught:
        read(changed(description, *path, to=to))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, said", [("rows: [", "table.yaml: not YAML"), ("- a", "table.yaml: expected KEY: VALUE")]
)
def test_a_file_of_something_else_is_one_line(read, text, said):
    with pytest.raises(ValueError) as caught:
        read(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)
