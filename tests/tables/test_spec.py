"""Descriptions of tables: what they say, and one line for each mistake."""

import copy

import pytest

from insight.errors import InputError
from insight.tables import Column, Pictures, Plot, read_table, table_setups
from insight.tables.runs import plan_runs


def test_a_description_is_read_with_its_defaults(description, read, tmp_path):
    table = read(description)
    assert (table.name, table.title, table.seeds, table.note) == ("table", "Tiny", (1, 2), "")
    assert [row.name for row in table.rows] == ["baseline", "faster"]
    assert table.rows[0].configs == (str(tmp_path / "tiny.yaml"),) and not table.rows[0].eval_only
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
    (("rows",), [], "rows: expected one or more"),
    (("rows", 0), "baseline", "table.yaml: row 1: expected KEY: VALUE pairs of name, config"),
    (("rows", 0), {"name": "a"}, "row 1: expected the key config, which is missing"),
    (("rows", 1, "name"), "baseline", "of different names, got baseline, baseline"),
    (("rows", 1, "config"), "absent.yaml", "row 2 (faster): config: no such file"),
    (("rows", 1, "option"), {}, "row 2: unknown key 'option'; expected name, config, options, eval_only, over"),
    (("rows", 1, "eval_only"), "yes", "row 2: eval_only: expected True or False, got 'yes'"),
    (("rows", 1, "over"), "slower", "row 'faster': over: unknown row 'slower'"),
    (("columns",), {}, "columns: expected one or more"),
    (("columns", "AP"), "segm/AP", "column 'AP': expected DATASET/TASK/METRIC"),
    (("columns", "AP"), "some_val/segm/APX", "APl or AP-CLASS of some_val/segm, got 'APX'"),
    (("columns", "AP"), 3, "column 'AP': expected DATASET/TASK/METRIC"),
    (("columns", "AP"), "small_val/segm/AP-*", "a * must be in both the title and the metric"),
    (("columns", "MACs"), "gmacs", "column 'MACs': expected"),
    (("columns", "MACs"), "gmacs/ten", "column 'MACs': expected"),
    (("seeds",), [1, 1], "seeds: expected different integers"),
    (("seeds",), [-1], "seeds: expected different integers"),
    (("seeds",), ["1"], "seeds: expected different integers"),
    (("pictures",), 8, "pictures: expected KEY: VALUE pairs, got 8"),
    (("pictures",), {"images": "a.png"}, "pictures: images: expected a list, got 'a.png'"),
    (("pictures",), {"images": ["a.png"], "worst": True}, "pictures: worst: cannot be combined with images, got a.png"),
    (("pictures",), {"count": 0}, "pictures: count: expected at least 1, got 0"),
    (("rows",), 3, "table.yaml: rows: expected a list, got 3"),
    (("rows", 1, "config"), [], "row 2 (faster): config: expected a config or a list of configs, got []"),
    (("rows", 1, "config"), [3], "row 2 (faster): config: expected a config or a list of configs, got [3]"),
    (("rows", 1, "config"), 3, "row 2: config: expected text or a list, got 3"),
    (
        ("rows", 1, "config"),
        "nwpu_lite",
        "row 2 (faster): config: nwpu_lite: no such shipped config; the nearest: nwpu",
    ),
    (("seeds",), [10**30], "seeds: expected different integers"),
    (("columns", "MACs"), "gmacs/" + "9" * 5000, "column 'MACs': expected"),
    (("pictures",), {"count": True}, "pictures: count: expected an integer, got True"),
    (("plot",), {"kind": "lines", "x": [10**400, 1]}, "plot: x: expected a number for each of the 2 rows"),
    (("setups",), 3, "setups: expected NAME: {KEY: text or list of configs}, got 3"),
    (("setups",), {"../../evil": {}}, "setups: expected NAME: {KEY: text or list of configs}"),
    (("_BASE_",), 3, "_BASE_: expected a file, got 3"),
    (("_BASE_",), "table.yaml", "inherits from itself through _BASE_"),
    (("_BASE_",), "absent.yaml", "absent.yaml: no such file"),
    (("plot",), {"kind": "pie"}, "plot: expected kind bars or lines"),
    (("plot",), {"columns": ["box AP"]}, "plot: unknown column 'box AP', only mask AP"),
    (("plot",), {"kind": "lines", "x": [1]}, "plot: x: expected a number for each of the 2 rows, got [1]"),
    (("plot",), {"kind": "lines", "along": "columns", "x": ["a"]}, "a number for each of the 1 columns"),
]


@pytest.mark.parametrize("path, to, said", MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_a_mistake_is_one_line(description, read, path, to, said):
    with pytest.raises(ValueError) as caught:
        read(changed(description, *path, to=to))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, said",
    [
        ("rows: [", "table.yaml: line 1: not YAML"),
        ("- a", "table.yaml: expected KEY: VALUE"),
        ("", "table.yaml: expected KEY: VALUE"),
        ("title: !!python/object/apply:os.system [exit]", "line 1: the tag !!python/object/apply:os.system is refused"),
    ],
)
def test_a_file_of_something_else_is_one_line(read, text, said):
    with pytest.raises(ValueError) as caught:
        read(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


SETUPS = """
title: "Models on $data"
setups:
  one: {data: One, test: one_val, model: nwpu_light, ours: [lpm, gpm]}
  two: {data: Two, test: two_val, model: [mask_rcnn_r50_fpn, isaid], ours: modules}
seeds: [3]
rows:
  - {name: baseline, config: $model}
  - {name: "ours, $data", config: [$model, $ours, crop_14], options: {MODEL.WEIGHTS: "$$x"}}
  - {name: only in two, config: [$model, lpm], setups: [two]}
columns: {AP of $data: $test/segm/AP}
"""


def test_a_setup_fills_in_what_a_table_leaves_open(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SETUPS)
    assert table_setups(path) == ("one", "two")
    one, two = (read_table(path, setup) for setup in ("one", "two"))
    assert (one.name, one.title, one.columns) == (
        "mine_one",
        "Models on One",
        (Column("AP of One", "one_val/segm/AP"),),
    )
    assert [row.name for row in one.rows] == ["baseline", "ours, One"]
    assert [row.configs for row in one.rows] == [("nwpu_light",), ("nwpu_light", "lpm", "gpm", "crop_14")]
    assert one.rows[1].options == {"MODEL.WEIGHTS": "$x"}
    assert [row.configs for row in two.rows] == [
        ("mask_rcnn_r50_fpn", "isaid"),
        ("mask_rcnn_r50_fpn", "isaid", "modules", "crop_14"),
        ("mask_rcnn_r50_fpn", "isaid", "lpm"),
    ]


def test_a_table_has_from_its_base_what_it_does_not_state(tmp_path):
    (tmp_path / "mine.yaml").write_text(SETUPS)
    (tmp_path / "other.yaml").write_text("_BASE_: mine.yaml\ntitle: Speed on $data\ncolumns: {fps: fps}\n")
    table = read_table(tmp_path / "other.yaml", "two")
    assert (table.name, table.title, table.seeds) == ("other_two", "Speed on Two", (3,))
    assert table.rows == read_table(tmp_path / "mine.yaml", "two").rows and table.columns == (Column("fps", "fps"),)


@pytest.mark.parametrize(
    "change, setup, said",
    [
        (("", ""), "", "setup: expected one of one, two, got ''"),
        (("", ""), "three", "setup: expected one of one, two, got 'three'"),
        (("$test/segm", "$set/segm"), "one", "'$set/segm/AP': expected $data, $test, $model, $ours ($$ is a $)"),
        (("$test/segm", "$model$ours"), "one", "'$model$ours/AP': expected $data"),
        (("$$x", "$ x"), "one", "'$ x': expected $data"),
        (("setups: [two]", "setups: [four]"), "one", "row 'only in two': setups: expected a list of some of one, two"),
        (("setups: [two]", "setups: two"), "one", "row 'only in two': setups: expected a list of some of one, two"),
        (("config: $model", "config: $data"), "one", "config: One: no such shipped config"),
    ],
)
def test_a_mistake_in_setups_is_one_line(tmp_path, change, setup, said):
    path = tmp_path / "mine.yaml"
    path.write_text(SETUPS.replace(*change))
    with pytest.raises(InputError) as caught:
        read_table(path, setup)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_without_setups_has_none_to_choose(description, read, tmp_path):
    read(description)
    assert table_setups(tmp_path / "table.yaml") == ()
    with pytest.raises(InputError, match="setup: expected one of none, this table has no setups, got 'nwpu'"):
        read_table(tmp_path / "table.yaml", "nwpu")


def test_the_papers_tables_are_found_by_name():
    assert read_table("iai_2", "nwpu").name == "iai_2_nwpu"
    assert read_table("iai_prompt_use").name == "iai_prompt_use_nwpu"  # it has one setup
    with pytest.raises(InputError, match="iai_22: no such shipped config; the nearest: iai_2"):
        read_table("iai_22", "nwpu")


def test_a_table_runs_nothing(tmp_path):
    payload = f"!!python/object/apply:os.mkdir [{tmp_path}/marker]"
    (tmp_path / "evil.yaml").write_text(f"title: {payload}")
    (tmp_path / "heir.yaml").write_text("_BASE_: evil.yaml")
    (tmp_path / "row.yaml").write_text("title: a\nrows: [{name: a, config: evil.yaml}]\ncolumns: {fps: fps}")
    for name in ("evil.yaml", "heir.yaml"):
        with pytest.raises(InputError, match="evil.yaml: line 1: the tag !!python/object/apply:os.mkdir is refused"):
            read_table(tmp_path / name)
    with pytest.raises(InputError, match="row 'a': .*evil.yaml: line 1: the tag !!python/object/apply:os.mkdir is ref"):
        plan_runs(read_table(tmp_path / "row.yaml"), tmp_path / "runs")
    assert not (tmp_path / "marker").exists()
