"""Config files and what they inherit: one line for each mistake."""

import pytest

pytest.importorskip("detectron2")

from insight.config import ConfigError, load_config


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
