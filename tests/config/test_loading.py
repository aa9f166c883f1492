"""Loading configs with overrides, and dumping them."""

import subprocess
import sys

import pytest
import torch
import yaml

pytest.importorskip("detectron2")
from detectron2.config import get_cfg

import insight
from insight.config import ConfigError, dump_config, is_sopseg, load_config


def test_overrides_come_after_the_file_and_its_base(tmp_path):
    (tmp_path / "base.yaml").write_text("VERSION: 2\nSOLVER: {MAX_ITER: 1, BASE_LR: 0.1, IMS_PER_BATCH: 3}\n")
    (tmp_path / "top.yaml").write_text("_BASE_: base.yaml\nSOLVER: {MAX_ITER: 2, BASE_LR: 0.2}\n")
    cfg = load_config(str(tmp_path / "top.yaml"), ["SOLVER.BASE_LR", "0.3"])
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR) == (3, 2, 0.3)


def test_an_override_runs_nothing(tmp_path):
    value = f"__import__('os').mkdir('{tmp_path}/marker')"
    assert value == load_config((), ["OUTPUT_DIR", value]).OUTPUT_DIR
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("files", [["nwpu_light", "insight"], ["pointrend_r50_fpn_insight"], ["sopseg_light"]])
def test_a_dumped_config_merges_by_the_recipe_for_embedding(tmp_path, files):
    if "pointrend" in files[0]:
        pytest.importorskip("detectron2.projects.point_rend")
    cfg = load_config(files, ["MODEL.DEVICE", "cpu"])
    (tmp_path / "config.yaml").write_text(dump_config(cfg))
    theirs = get_cfg()
    insight.add_insight_config(theirs)
    theirs.merge_from_file(str(tmp_path / "config.yaml"))
    assert yaml.safe_load(theirs.dump()) == yaml.safe_load(cfg.dump())
    assert is_sopseg(theirs) == (files == ["sopseg_light"])


def test_a_dumped_config_merges_where_pointrend_is_not_installed(tmp_path):
    (tmp_path / "config.yaml").write_text(dump_config(load_config("nwpu_light")))
    program = """
import sys
sys.modules["detectron2.projects.point_rend"] = None
import insight
from detectron2.config import get_cfg
cfg = get_cfg()
insight.add_insight_config(cfg)
assert "POINT_HEAD" not in cfg.MODEL
cfg.merge_from_file("config.yaml")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "overrides, said",
    [
        (["SEED"], "overrides: expected KEY VALUE pairs, SEED has no value"),
        (["MODEL.WEIGHT", "a"], "overrides: unknown config key MODEL.WEIGHT; the nearest is MODEL.WEIGHTS"),
        (["MODEL", "3"], "overrides: unknown config key MODEL"),
        (["MODEL.WEIGHTS.X", "3"], "overrides: unknown config key MODEL.WEIGHTS.X; the nearest is MODEL.WEIGHTS"),
        (["SEED", "one"], "overrides: SEED: expected a value of type int, got one of type str"),
        (["SEED", "None"], "SEED: expected a value, got null"),
        (["SEED", "9" * 400], "SEED: expected integers of at most 64 bits, got one of 1329 bits"),
        (["SEED", "9" * 5000], "overrides: SEED: expected a value of type int, got 9999"),
        (["SOLVER.STEPS", f"({'9' * 400},)"], "SOLVER.STEPS: expected integers of at most 64 bits"),
        (["SEED", "-" * 100000 + "1"], "overrides: a value is nested too deeply"),
        (["SEED", "1" + "+1" * 100000], "overrides: a value is nested too deeply"),
    ],
)
def test_a_wrong_override_is_one_short_line(overrides, said):
    with pytest.raises(ConfigError) as caught:
        load_config((), overrides)
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["tpu9", "mps", "meta", "xpu", "cpu:3", "cuda:x", ""])
def test_another_device(name):
    with pytest.raises(ConfigError, match=f"MODEL.DEVICE is '{name}': expected cpu, cuda or cuda:N"):
        load_config("", ["MODEL.DEVICE", name])


def test_a_gpu_beyond_those_that_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert load_config("", ["MODEL.DEVICE", "cuda:1"]).MODEL.DEVICE == "cuda:1"
    with pytest.raises(ConfigError, match="MODEL.DEVICE is 'cuda:2': there is no such GPU"):
        load_config("", ["MODEL.DEVICE", "cuda:2"])


@pytest.mark.parametrize("available, device", [(True, "cuda"), (False, "cpu")])
def test_cuda_becomes_the_cpu_only_where_there_is_no_gpu(monkeypatch, caplog, available, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    chosen = load_config("", ["MODEL.DEVICE", "cuda"]).MODEL.DEVICE
    assert chosen == device
    assert ("there is no GPU: using the CPU" in caplog.text) != available


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("DATASETS.TRAIN", "mine", """of type tuple, got mine of type str; write '("mine",)'"""),
        ("MODEL.PROMPT.BRANCHES", "[box,mask]", """got [box,mask] of type str; write '["box", "mask"]'"""),
        ("MODEL.PROMPT.BRANCHES", '[["box"', """got [["box" of type str"""),
    ],
)
def test_a_word_for_a_list_is_reported_how_to_write_it(key, value, said):
    with pytest.raises(ConfigError) as raised:
        load_config("", [key, value])
    assert str(raised.value).endswith(said)


def test_a_whole_number_for_a_float_is_told_how_to_write_it(tmp_path):
    (tmp_path / "config.yaml").write_text("SOLVER: {BASE_LR: 1}")
    for source in (("", ["SOLVER.BASE_LR", "1"]), (str(tmp_path / "config.yaml"),)):
        with pytest.raises(
            ConfigError, match="SOLVER.BASE_LR: expected a value of type float, got 1 of type int; write 1.0$"
        ):
            load_config(*source)
