"""Label maps that cannot be used, before a training meets them."""

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from insight.config import load_config
from insight.data.formats.label_maps import unusable_label_maps, with_usable_label_maps
from insight.engine import Trainer

SIZE = 6, 8  # height, width


@pytest.fixture
def dicts(tmp_path):
    """Images with a label map that is good, small, in colour, of unknown classes, cut or missing, and one without."""
    grey = np.zeros(SIZE, np.uint8)
    noise = np.random.default_rng(0).integers(0, 3, SIZE, np.uint8)
    arrays = {"good": noise, "small": grey[1:], "colour": np.dstack([grey] * 3), "strange": grey + 77, "cut": noise}
    for name, array in arrays.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), array)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    maps = [{"sem_seg_file_name": str(tmp_path / f"{name}.png")} for name in (*arrays, "gone")]
    return [{"height": SIZE[0], "width": SIZE[1], **one} for one in (*maps, {})]


def test_what_is_wrong_is_told_of_each(dicts, tmp_path):
    maps = [(tmp_path / f"{name}.png", SIZE) for name in ("good", "small", "colour", "strange", "cut", "gone")]
    told = unusable_label_maps(maps, 3)
    assert [path.stem for path, _ in told] == ["small", "colour", "strange", "cut", "gone"]
    for name, reason in {
        "small": "the label map is 8 x 5 pixels, its image 8 x 6",
        "colour": "expected a label map of one band of 8 bits, got RGB",
        "strange": "label 77 is out of range: expected 0 to 2",
        "cut": "cannot read label map",
        "gone": "no such label map",
    }.items():
        line = told[tmp_path / f"{name}.png", SIZE]
        assert reason in line and f"{name}.png" in line
    assert [path.stem for path, _ in unusable_label_maps(maps)] == ["small", "colour", "cut", "gone"]  # any labels


def test_a_training_that_needs_them_stops_before_it_starts_or_goes_on_without(dicts, caplog):
    with pytest.raises(
        ValueError, match="1 of 6 label maps .* cannot be used: no such label map: .*gone.png; DATASETS.BAD skip"
    ):
        with_usable_label_maps(dicts, 3)
    assert with_usable_label_maps(dicts[:1], 3) == dicts[:1] and not caplog.messages
    assert with_usable_label_maps(dicts, 3, strict=False) == [dicts[0], dicts[-1]]
    assert "left out images: 5 of 6 label maps for the semantic branch cannot be used" in caplog.text
    with pytest.raises(ValueError, match="no image is left$"):
        with_usable_label_maps(dicts[1:3], 3, strict=False)


def test_labels_of_files_need_a_file(dicts):
    bare = dicts[-1:]
    assert with_usable_label_maps(bare, 3) == bare and with_usable_label_maps(dicts[:1], 3, needed=True) == dicts[:1]
    for strict in (True, False):
        with pytest.raises(
            ValueError,
            match="no image has a sem_seg_file_name, .* set it to 0 to train on the classes of the instances$",
        ):
            with_usable_label_maps(bare, 3, strict, needed=True)


def test_a_map_that_images_of_two_sizes_have_fits_one_of_them(dicts, tmp_path):
    good = tmp_path / "good.png"
    for images in ([SIZE, (7, 8)], [(7, 8), SIZE]):
        assert list(unusable_label_maps([(good, size) for size in images], 3)) == [(good, (7, 8))]
        both = [{**dicts[0], "height": height, "width": width} for height, width in images]
        kept = with_usable_label_maps(both, 3, strict=False)
        assert kept == [one for one in both if one["height"] == SIZE[0]]


@pytest.mark.parametrize("bad", ["strict", "skip"])
def test_the_train_loader_asks_where_the_model_learns_them(dicts, monkeypatch, bad):
    image = {"annotations": [{"iscrowd": 0}], "file_name": ""}
    monkeypatch.setattr(
        "insight.engine.stream.get_detection_dataset_dicts", lambda *_, **__: [{**d, **image} for d in dicts]
    )
    scnet = ["MODEL.META_ARCHITECTURE", "PromptRCNN", "MODEL.ROI_HEADS.NAME", "SCNetROIHeads"]
    options = ["DATASETS.BAD", bad, "DATALOADER.NUM_WORKERS", 0, "SOLVER.IMS_PER_BATCH", 1]
    loader = Trainer.build_train_loader(load_config("", [*scnet, *options]))
    assert len(loader.dataset.dataset) == 7  # without the semantic branch they are nobody's concern
    semantic = ["MODEL.SCNET.SEMANTIC.ENABLED", True, "MODEL.SCNET.SEMANTIC.NUM_CLASSES", 3]
    cfg = load_config("", [*scnet, *options, *semantic])
    if bad == "strict":
        with pytest.raises(ValueError, match="no such label map"):
            Trainer.build_train_loader(cfg)
    else:
        assert len(Trainer.build_train_loader(cfg).dataset.dataset) == 2
