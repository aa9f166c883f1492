"""`insight data show`."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from insight.config import load_config
from insight.data.datasets import register_from_config
from insight.data.datasets.scenes import Split, ensure_rendered
from insight.visualization.dataset_pictures import draw_dataset


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    """The DATASETS.COCO override of four scenes, the last without instances."""
    folder = tmp_path_factory.mktemp("visualize") / "scenes"
    ensure_rendered(folder, Split(4, 5, (96, 128)))
    path = folder / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 4]
    path.write_text(json.dumps(content))
    return ["DATASETS.COCO", repr([["mine", str(path), str(folder / "images")]])]


def test_source_and_augmented(tmp_path, entry):
    cfg = load_config("", ["INPUT.MIN_SIZE_TRAIN", "(192,)", "INPUT.ROTATE_90", "True", *entry])
    register_from_config(cfg)
    paths = draw_dataset(cfg, "mine", tmp_path / "source", count=0, scale=2)
    assert len(paths) == 4
    for i, path in enumerate(paths):
        picture = cv2.imread(str(path))
        assert picture.shape == (192, 256, 3)
        image = cv2.imread(f"{cfg.DATASETS.COCO[0][2]}/{i:05d}.png")
        plain = cv2.resize(image, (256, 192), interpolation=cv2.INTER_CUBIC)
        assert np.array_equal(picture, plain) == (i == 3), "only the image without instances is left plain"
    one = draw_dataset(cfg, "mine", tmp_path / "one", count=2, augmented=True, seed=3)
    two = draw_dataset(cfg, "mine", tmp_path / "two", count=2, augmented=True, seed=3)
    assert [p.name for p in one] == [p.name for p in two] and len(one) == 2
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two))


def test_the_command(tmp_path, entry, insight):
    done = insight("data show", "mine", "--count", "2", "--output", tmp_path / "out", *entry)
    assert done.code == 0, done.err
    assert "wrote 2 pictures to" in done.out and not done.err
    assert len(list((tmp_path / "out").glob("*.png"))) == 2


def test_no_half_picture_has_the_name_of_one(tmp_path, entry, monkeypatch):
    cfg = load_config("", entry)
    register_from_config(cfg)

    def fail(file):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)  # when all is written but not yet on disk
    with pytest.raises(OSError, match="no space left"):
        draw_dataset(cfg, "mine", tmp_path / "out", count=1)
    assert not list((tmp_path / "out").iterdir())


def test_an_unknown_name_is_one_line(tmp_path, insight):
    done = insight("data show", "mien", "--output", tmp_path)
    assert done.code == 2
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("error: NAME: unknown dataset 'mien'; insight's are: ")
    assert "scenes_val" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize(
    "option, said",
    [
        ("--count", "error: argument --count: expected an integer from 0, got -1"),
        ("--scale", "error: argument --scale: expected an integer from 0, got -1"),
        ("--seed", "error: argument --seed: expected an integer from 0, got -1"),
    ],
)
def test_a_negative_number(tmp_path, insight, option, said):
    done = insight("data show", "scenes_val", option, -1, "--output", tmp_path / "out")
    assert done.code == 2 and said in done.err
    assert not (tmp_path / "out").exists()


def test_an_enlargement_beyond_what_a_picture_can_be(tmp_path, entry, insight):
    done = insight("data show", "mine", "--scale", 100000, "--output", tmp_path / "out", *entry)
    assert done.code == 2 and "error: --scale: 100000 times " in done.err
    assert "which has 128 x 96 pixels, is too large for a picture; up to 147 will do" in done.err
    assert not (tmp_path / "out").exists()


def test_no_model_no_word_of_its_device(tmp_path, entry, insight, caplog, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = insight("data show", "mine", "--count", 1, "--output", tmp_path / "out", *entry)
    assert done.code == 0 and "MODEL.DEVICE" not in caplog.text


def test_no_data_set_named(tmp_path, insight):
    done = insight("data show", "--output", tmp_path)
    assert done.code == 2 and "error: NAME: expected a dataset, or a --config-file" in done.err
