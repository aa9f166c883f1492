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
    pictures = sorted((tmp_path / "out" / "overlays").glob("*.png"))
    assert len(pictures) == 6
    sizes = [cv2.imread(str(p)).shape for p in pictures]
    assert sizes[0][1] == 2 * sizes[-1][1]  # found and asked for; the last image holds nothing to ask for

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
