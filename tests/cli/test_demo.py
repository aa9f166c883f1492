import re

import cv2
import pytest


@pytest.mark.slow
def test_demo_trains_evaluates_prompts_and_draws_and_is_quick_the_second_time(tmp_path, project, insight):
    arguments = ("--config-file", project / "config.yaml", "--output", tmp_path / "out")
    first = insight("demo", *arguments)
    assert first.code == 0, first.err
    numbers = dict(re.findall(r"^(mask AP50|prompted mIoU|ms a prompt) +([\d.]+)$", first.out, re.MULTILINE))
    assert len(numbers) == 3
    found = sorted((tmp_path / "out" / "overlays").glob("*_found.png"))
    prompted = sorted((tmp_path / "out" / "overlays").glob("*_prompted.png"))
    assert (len(found), len(prompted)) == (6, 5), "the last image has no objects"
    height, width, _ = cv2.imread(str(found[0])).shape
    assert cv2.imread(str(prompted[0])).shape == (height, 3 * width, 3)

    weights = (tmp_path / "out" / "model_final.pth").stat().st_mtime_ns
    second = insight("demo", *arguments)
    assert second.code == 0, second.err
    assert (tmp_path / "out" / "model_final.pth").stat().st_mtime_ns == weights
    again = dict(re.findall(r"^(mask AP50|prompted mIoU) +([\d.]+)$", second.out, re.MULTILINE))
    assert again == {name: numbers[name] for name in again}


def test_demo_names_a_missing_config(tmp_path, insight):
    done = insight("demo", "--config-file", tmp_path / "none.yaml")
    assert done.code == 2
    assert "none.yaml: no such file" in done.err
