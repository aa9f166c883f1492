"""The runner on fake benchmarks: choice of cases, table, JSON, comparison with an earlier run, exit status."""

import importlib
import json

import pytest
import report
import run
from harness import OURS, Effort, Measurement, Outcome

from insight.errors import InputError


def outcome(case="c", error="", **ratios):
    contenders = {OURS: Measurement(1e-3, 10, 1.0)}
    contenders |= {name: Measurement(1e-3 * ratio, None, ratio, 2.0) for name, ratio in ratios.items()}
    return Outcome("b", case, {} if error else contenders, "note", error)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with two benchmarks that work and one that does not."""
    good = """
import torch
from harness import Case, Rival
def cases(device):
    for name in ("forward", "backward"):
        yield Case(name, lambda: torch.ones(2), {"twin": Rival(lambda: torch.ones(2))})
"""
    (tmp_path / "bench_fake_good.py").write_text(good)
    (tmp_path / "bench_fake_wrong.py").write_text(good.replace("Rival(lambda: torch.ones", "Rival(lambda: torch.zeros"))
    (tmp_path / "bench_fake_broken.py").write_text("import a_package_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_json_round_trip(tmp_path):
    outcomes = [outcome(twin=3.0), outcome("d", error="RuntimeError: no")]
    report.save(tmp_path / "o.json", {"cpu": "x"}, outcomes)
    assert report.load(tmp_path / "o.json") == ({"cpu": "x"}, outcomes)
    assert [p.name for p in tmp_path.iterdir()] == ["o.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": {}, "outcomes": [{"case": 1}]}'])
def test_a_file_of_something_else_is_named(tmp_path, text):
    (tmp_path / "o.json").write_text(text)
    with pytest.raises(InputError, match=r"o\.json: not a file written by benchmarks/run\.py --json"):
        report.load(tmp_path / "o.json")
    with pytest.raises(InputError, match="absent.json: No such file"):
        report.load(tmp_path / "absent.json")


def test_table_says_what_was_reached_missed_and_failed():
    text = report.table([outcome(twin=3.0, slow=1.5), outcome("d", error="RuntimeError: no")])
    twin, slow = (next(line for line in text.splitlines() if name in line) for name in ("twin", "slow"))
    assert "3.00x" in twin and "target 2x reached" in twin
    assert "1.50x" in slow and "target 2x MISSED" in slow
    assert "b: d\n    FAILED  RuntimeError: no" in text


def test_compare_uses_ratios_and_only_what_both_have():
    old = [outcome(twin=4.0, gone=2.0), outcome("old only", twin=1.0), outcome("fails", twin=2.0)]
    new = [outcome(twin=3.0, fresh=2.0), outcome("new only", twin=1.0), outcome("fails", error="E: no")]
    changes = report.compare(old, new)
    assert [(c.name, c.old, c.new, c.percent) for c in changes] == [
        ("b: c, against twin", 4.0, 3.0, -25.0),
        ("b: fails, against twin", 2.0, None, -100.0),
    ]
    assert "4.00x ->    3.00x   -25.0 %" in report.comparison(changes)


def test_only_chooses_benchmark_and_case(folder, capsys):
    assert run.main(["--quick", "--only", "fake_good/back"], folder) == 0
    text, told = capsys.readouterr()
    assert told == "measuring fake_good: backward\n"
    assert "fake_good: backward" in text and "forward" not in text and "fake_wrong" not in text
    assert run.main(["--only", "nothing"], folder) == 2
    assert "--only nothing: no benchmark matches" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sopseg", "detector", "prompt_latency"])
def test_no_model_is_built_for_cases_that_are_not_chosen(name, monkeypatch, capsys):
    pytest.importorskip("detectron2")
    module = importlib.import_module(f"bench_{name}")
    for build in {"build_sopseg", "load_sopseg", "build_model", "SamPredictor"} & vars(module).keys():
        monkeypatch.setattr(module, build, lambda *_: pytest.fail("a model was built"))
    assert run.main(["--only", f"{name}/nothing"]) == 2
    assert f"--only {name}/nothing: no benchmark matches" in capsys.readouterr().err


def test_failures_are_reported_and_the_rest_still_runs(folder, capsys):
    assert run.main(["--quick"], folder) == 1
    text = capsys.readouterr().out
    assert "FAILED  ModuleNotFoundError: No module named 'a_package_that_is_missing'" in text
    assert "FAILED  AssertionError: 'twin' disagrees with ours" in text
    assert "fake_good: backward\n    ours" in text


def test_regression_fails_only_where_asked(folder, tmp_path, capsys):
    before = tmp_path / "before.json"
    arguments = ["--quick", "--only", "fake_good/forward"]
    assert run.main([*arguments, "--json", str(before)], folder) == 0
    data = json.loads(before.read_text())
    assert {"date", "commit", "cpu", "threads", "torch"} <= data["machine"].keys()
    data["outcomes"][0]["contenders"]["twin"]["ratio"] *= 1e6  # an earlier run that was far better
    before.write_text(json.dumps(data))
    assert run.main([*arguments, "--compare", str(before)], folder) == 0
    assert run.main([*arguments, "--compare", str(before), "--fail-if-regression"], folder) == 1
    assert "1 of 1 ratios fell by more than 10 %" in capsys.readouterr().out
    data["outcomes"][0]["contenders"]["twin"]["ratio"] = 1e-9
    before.write_text(json.dumps(data))
    assert run.main([*arguments, "--compare", str(before), "--fail-if-regression", "50"], folder) == 0


def test_wrong_arguments_end_in_one_line(folder, tmp_path, capsys):
    for arguments, message in (
        (["--fail-if-regression"], "--fail-if-regression needs --compare OLD.json"),
        (["--compare", str(tmp_path / "absent.json")], "absent.json: No such file"),
        (["--json", str(tmp_path)], f"--json: expected a file to write, but {tmp_path} is a folder"),
    ):
        with pytest.raises(SystemExit) as stop:
            run.main(arguments, folder)
        assert stop.value.code == 2 and message in capsys.readouterr().err


# Smaller work, for the benchmarks whose sizes are constants: what is proved here does not depend on them.
SMALL = {
    "bench_crop_resize": {
        "TILE": {"count": 40, "sides": (8, 200), "side": 400, "size": 28},
        "SCENE": {"count": 4, "sides": (16, 320), "side": 800, "size": 256},
    },
    "bench_evaluation": {"IMAGES": 4},
    "bench_global_to_local_attention": {"ROIS": 16, "KEYS": 300},
    "bench_raster": {"SIZE": 512, "TILE": 384, "OVERLAP": 64},
    "bench_rle": {"SIZE": 900, "CALLS": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(run.FOLDER.glob("bench_*.py")), ids=lambda path: path.stem)
def test_every_benchmark_runs_and_its_contenders_agree(path, capsys, monkeypatch, tmp_path):
    # Neither ratios nor memory matter here: with no patience, a contender is timed once; test_harness.py covers both.
    monkeypatch.setattr(run, "QUICK", Effort(rounds=1, sample=0.0, patience=0.0))
    monkeypatch.setattr("harness.peak_memory", lambda run, device: None)
    monkeypatch.setattr("insight.hub.finding.SHIPPED", tmp_path)  # random weights, which find nothing, are quicker
    monkeypatch.setenv("INSIGHT_CACHE", str(tmp_path))
    for constant, value in SMALL.get(path.stem, {}).items():
        monkeypatch.setattr(f"{path.stem}.{constant}", value)
    # On a CPU hundreds of boxes take SAM minutes and a ResNet-50 takes seconds an image.
    few = {"sopseg": " 10 boxes", "detector": "light", "prompt_latency": "light at 512 x 512, 10 boxes"}
    name = path.stem.removeprefix("bench_")
    only = f"{name}/{few[name]}" if name in few else path.stem
    assert run.main(["--quick", "--only", only]) == 0, capsys.readouterr().out
