"""Reading configs: names and paths, what they inherit, and one line for each mistake."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("detectron2")
from detectron2.config import get_cfg

import insight
from insight.config import ConfigError, configs_folder, dump_config, find_config, is_sopseg, load_config
from insight.errors import InsightError


def test_the_defaults_leave_every_part_off():
    cfg = load_config()
    assert cfg.is_frozen() and cfg.MODEL.META_ARCHITECTURE == "GeneralizedRCNN"
    assert not any((cfg.MODEL.PROMPT.LPM.ENABLED, cfg.MODEL.PROMPT.GPM.ENABLED, cfg.MODEL.RPN.AREA_LOSS.ENABLED))


def test_overrides_come_after_the_file_and_its_base(tmp_path):
    (tmp_path / "base.yaml").write_text("VERSION: 2\nSOLVER: {MAX_ITER: 1, BASE_LR: 0.1, IMS_PER_BATCH: 3}\n")
    (tmp_path / "top.yaml").write_text("_BASE_: base.yaml\nSOLVER: {MAX_ITER: 2, BASE_LR: 0.2}\n")
    cfg = load_config(str(tmp_path / "top.yaml"), ["SOLVER.BASE_LR", "0.3"])
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR) == (3, 2, 0.3)


@pytest.mark.parametrize(
    "content, said",
    [
        ("_BASE_: absent.yaml", "absent.yaml"),
        ("", "expected sections of KEY: VALUE, got None"),
        ("words", "expected sections of KEY: VALUE, got 'words'"),
        ("1: 2", "expected sections of KEY: VALUE, got {1: 2}"),
        ("MODEL: 3", "MODEL: expected a section of KEY: VALUE, got 3"),
        ("SOLVER: {MAX_ITER: {a: 1}}", "SOLVER.MAX_ITER: expected a value, got {'a': 1}"),
        ("MODEL: [a\n b: 3", "line 2"),
        ("VERSION: 1", "VERSION: expected 2, got 1"),
        ("MODEL: {NOT_THERE: 1}", "unknown config key MODEL.NOT_THERE"),
        ("SOLVER: {MAX_ITERS: 1}", "unknown config key SOLVER.MAX_ITERS; the nearest is SOLVER.MAX_ITER"),
        ("SOLVER: {MAX_ITER: many}", "SOLVER.MAX_ITER: expected a value of type int, got many of type str"),
        ("_BASE_: 3", "_BASE_: expected a file or a list of files, got 3"),
        ("_BASE_: [3]", "_BASE_: expected a file or a list of files, got [3]"),
        ("_BASE_: wrong.yaml", "inherits from itself through _BASE_"),
        ("_BASE_: [.]", "expected a YAML file, got a folder"),
        ("_BASE_: https://example.com/a.yaml", "no such file"),
        ("OUTPUT_DIR: '" + "-" * 100000 + "1'", "a value is nested too deeply"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path, content, said):
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    message = str(caught.value)
    assert message.startswith(str(path)) and said in message and "\n" not in message


def test_a_missing_file():
    with pytest.raises(ConfigError, match="^absent.yaml: no such file$"):
        load_config("absent.yaml")
    with pytest.raises(ConfigError, match="nwpu_light.yaml: no such file; nwpu_light alone names a shipped config"):
        load_config("configs/nwpu_light.yaml")


def test_shipped_configs_are_found_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lpm").write_text("a file of the same name as a part")
    (tmp_path / "mine.yaml").write_text("_BASE_: [nwpu_light, lpm]\nSOLVER: {BASE_LR: 0.5}\n")
    mine, parts = load_config("mine.yaml"), load_config(["nwpu_light", "lpm", Path("mine.yaml")])
    assert mine.MODEL.PROMPT.LPM.ENABLED and mine.SOLVER.BASE_LR == 0.5 and mine == parts
    assert find_config("nwpu_light") == configs_folder() / "insight" / "nwpu_light.yaml"
    assert load_config(str(find_config("nwpu_light"))) == load_config("nwpu_light")


def test_the_configs_of_an_installed_package_come_before_those_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr("insight.config.__file__", str(tmp_path / "insight" / "config.py"))
    with pytest.raises(ConfigError, match="the shipped configs are missing"):
        configs_folder()
    for folder in (tmp_path / "configs", tmp_path / "insight" / "configs"):
        folder.mkdir(parents=True)
        assert configs_folder() == folder


@pytest.mark.parametrize(
    "name, near",
    [
        ("nwpu_lite", "the nearest: nwpu_light"),
        ("mask_rcnn_r50", "the nearest: mask_rcnn_r50_fpn"),
        ("quite_another", "there are area_loss, box_prompts"),
    ],
)
def test_an_unknown_name_is_one_line_with_the_nearest(name, near):
    with pytest.raises(ConfigError, match=f"^{name}: no such shipped config; {near}.*{name}.yaml\\)$"):
        load_config(["nwpu_light", name])


@pytest.mark.parametrize(
    "names, key",
    [
        (["cascade", "scnet"], "MODEL.ROI_HEADS.NAME is 'CascadeMaskROIHeads' in cascade and 'SCNetROIHeads' in scnet"),
        (["nwpu_light", "mask_rcnn_r50_fpn"], "MODEL.BACKBONE.NAME is 'build_timm_fpn_backbone' in nwpu_light and"),
        (["sopseg_light", "nwpu_light"], "MODEL.META_ARCHITECTURE is "),
        (["scnet_r50_fpn", "pointrend"], "MODEL.ROI_MASK_HEAD.NAME is 'SCNetMaskHead' in scnet_r50_fpn"),
        (["cascade", "nwpu_light"], "MODEL.ROI_HEADS.NAME is 'CascadeMaskROIHeads' in cascade"),  # a part comes later
    ],
)
def test_configs_that_contradict_each_other_are_one_line(tmp_path, names, key):
    (tmp_path / "both.yaml").write_text(f"_BASE_: [{', '.join(names)}]")
    for given in (names, str(tmp_path / "both.yaml")):
        with pytest.raises(ConfigError, match=f"^{names[0]} and {names[1]} contradict each other: {key}"):
            load_config(given)


def test_a_file_may_replace_what_it_inherits(tmp_path):
    (tmp_path / "mine.yaml").write_text("_BASE_: scnet_r50_fpn\nMODEL: {ROI_HEADS: {NAME: CascadeMaskROIHeads}}\n")
    assert load_config(tmp_path / "mine.yaml").MODEL.ROI_HEADS.NAME == "CascadeMaskROIHeads"


def test_files_that_inherit_each_other_end(tmp_path):
    (tmp_path / "a.yaml").write_text("_BASE_: b.yaml")
    (tmp_path / "b.yaml").write_text(f"_BASE_: [nwpu_light, {tmp_path}/../{tmp_path.name}/a.yaml]")
    with pytest.raises(ConfigError, match="a.yaml: inherits from itself through _BASE_"):
        load_config(tmp_path / "a.yaml")
    for number in range(40):  # each twice the next: 2^40 files
        (tmp_path / f"{number}.yaml").write_text(f"_BASE_: [{number + 1}.yaml, {number + 1}.yaml]")
    (tmp_path / "40.yaml").write_text("SEED: 1")
    with pytest.raises(ConfigError, match="includes more than 200 files|more than 30 levels of _BASE_"):
        load_config(tmp_path / "0.yaml")
    with pytest.raises(ConfigError, match="includes more than 200 files"):
        load_config(tmp_path / "20.yaml")


PAYLOADS = {
    "apply": "OUTPUT_DIR: !!python/object/apply:os.mkdir [{marker}]",
    "new": "OUTPUT_DIR: !!python/object/new:os.mkdir [{marker}]",
    "name": "OUTPUT_DIR: !!python/name:os.mkdir",
    "module": "OUTPUT_DIR: !!python/module:antigravity",
    "key": "? !!python/object/apply:os.mkdir [{marker}]\n: 1",
    "base": "_BASE_: !!python/object/apply:os.mkdir [{marker}]",
    "verbose": "OUTPUT_DIR: !<tag:yaml.org,2002:python/object/apply:os.mkdir> [{marker}]",
}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_config_runs_nothing(tmp_path, payload):
    marker = tmp_path / "marker"
    (tmp_path / "evil.yaml").write_text(PAYLOADS[payload].format(marker=marker))
    (tmp_path / "heir.yaml").write_text("_BASE_: [nwpu_light, evil.yaml]")
    for name in ("evil.yaml", "heir.yaml"):
        with pytest.raises(ConfigError, match=r"evil.yaml: line 1: the tag !!python/\S+ is refused") as caught:
            load_config(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not marker.exists()


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


def test_keys_of_pointrend_that_are_set_before_stay():
    pytest.importorskip("detectron2.projects.point_rend")
    from detectron2.projects.point_rend import add_pointrend_config

    cfg = get_cfg()
    add_pointrend_config(cfg)
    cfg.MODEL.POINT_HEAD.NUM_FC = 7
    insight.add_insight_config(cfg)
    assert cfg.MODEL.POINT_HEAD.NUM_FC == 7


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


def test_a_config_error_is_the_users():
    assert issubclass(ConfigError, InsightError) and issubclass(ConfigError, ValueError)


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


@pytest.mark.parametrize(
    "switch, key, names, reader",
    [
        ("MODEL.SOPSEG_BRANCH.ENABLED", "MODEL.META_ARCHITECTURE", ["GeneralizedRCNN", "SOPSEG"], "PromptRCNN"),
        ("MODEL.PROMPT.LPM.ENABLED", "MODEL.META_ARCHITECTURE", ["GeneralizedRCNN"], "PromptRCNN"),
        ("MODEL.PROMPT.GPM.ENABLED", "MODEL.META_ARCHITECTURE", ["SOPSegMetaArch"], "PromptRCNN"),
        (
            "MODEL.PROMPT.SAMPLING.ENABLED",
            "MODEL.PROPOSAL_GENERATOR.NAME",
            ["RPN", "PrecomputedProposals"],
            "PromptRPN",
        ),
        ("MODEL.RPN.AREA_LOSS.ENABLED", "MODEL.PROPOSAL_GENERATOR.NAME", ["RPN"], "PromptRPN"),
        ("MODEL.SCNET.SEMANTIC.ENABLED", "MODEL.ROI_HEADS.NAME", ["CascadeMaskROIHeads"], "SCNetROIHeads"),
    ],
)
def test_a_part_that_the_model_would_ignore_is_an_error(switch, key, names, reader):
    for name in names:
        with pytest.raises(ConfigError) as caught:
            load_config("", [key, name, switch, True])
        why = f"{switch} is True, but {key} is {name!r}, which would ignore it"
        assert str(caught.value) == f"{why}: set {key} to {reader}, or {switch} to False"
        load_config("", [key, name])
    assert load_config("", [key, reader, switch, True]).is_frozen()


@pytest.mark.parametrize(
    "key, wrong, right",
    [
        *((f"MODEL.PROMPT.{key}", [0, -1], [4]) for key in ("CROP_SIZE", "LPM.DIM", "LPM.PATCH_SIZE", "LPM.STRIDE")),
        *(
            (f"MODEL.PROMPT.GPM.{key}", [0], [8])
            for key in ("DIM", "NUM_HEADS", "DEPTH", "GLOBAL_PATCH", "LOCAL_PATCH")
        ),
        ("MODEL.PROMPT.PROJECTION_LR_FACTOR", [-1.0], [0.0, 10.0]),
        ("MODEL.SOPSEG.JITTER", [-1.0, 0.5, float("nan")], [0.0, 0.49]),
        ("TEST.PROMPT_JITTER", [-0.1, 3.0], [0.0, 0.3]),
        ("TEST.DETECTIONS_PER_IMAGE", [-5, 0], [1]),
        ("SOLVER.CHECKPOINT_PERIOD", [-1, 0], [1]),
        ("SEED", [2**32], [-1, 2**32 - 1]),
    ],
)
def test_a_value_out_of_range_is_an_error(key, wrong, right):
    for value in wrong:
        with pytest.raises(ConfigError, match=f"^{key}: expected .*, got {value}$"):
            load_config("", [key, value])
    for value in right:
        assert load_config("", [key, value]).is_frozen()


def test_a_subclass_of_what_reads_a_part_will_do():
    from detectron2.modeling import META_ARCH_REGISTRY

    from insight.modeling.meta_arch import PromptRCNN

    META_ARCH_REGISTRY._do_register("MyRCNN", type("MyRCNN", (PromptRCNN,), {}))
    try:
        assert load_config("", ["MODEL.META_ARCHITECTURE", "MyRCNN", "MODEL.PROMPT.LPM.ENABLED", True]).is_frozen()
    finally:
        del META_ARCH_REGISTRY._obj_map["MyRCNN"]


@pytest.mark.parametrize("available, device", [(True, "cuda"), (False, "cpu")])
def test_cuda_becomes_the_cpu_only_where_there_is_no_gpu(monkeypatch, caplog, available, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    chosen = load_config("", ["MODEL.DEVICE", "cuda"]).MODEL.DEVICE
    assert chosen == device
    assert ("there is no GPU: using the CPU" in caplog.text) != available


def test_a_whole_number_for_a_float_is_told_how_to_write_it(tmp_path):
    (tmp_path / "config.yaml").write_text("SOLVER: {BASE_LR: 1}")
    for source in (("", ["SOLVER.BASE_LR", "1"]), (str(tmp_path / "config.yaml"),)):
        with pytest.raises(
            ConfigError, match="SOLVER.BASE_LR: expected a value of type float, got 1 of type int; write 1.0$"
        ):
            load_config(*source)
