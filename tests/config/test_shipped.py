"""Shipped configs by name."""

from pathlib import Path

import pytest

pytest.importorskip("detectron2")

from insight.config import ConfigError, configs_folder, find_config, load_config


def test_shipped_configs_are_found_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lpm").write_text("a file of the same name as a part")
    (tmp_path / "mine.yaml").write_text("_BASE_: [nwpu_light, lpm]\nSOLVER: {BASE_LR: 0.5}\n")
    mine, parts = load_config("mine.yaml"), load_config(["nwpu_light", "lpm", Path("mine.yaml")])
    assert mine.MODEL.PROMPT.LPM.ENABLED and mine.SOLVER.BASE_LR == 0.5 and mine == parts
    assert find_config("nwpu_light") == configs_folder() / "insight" / "nwpu_light.yaml"
    assert load_config(str(find_config("nwpu_light"))) == load_config("nwpu_light")


def test_the_configs_of_an_installed_package_come_before_those_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr("insight.config.shipped.__file__", str(tmp_path / "insight" / "config" / "shipped.py"))
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
