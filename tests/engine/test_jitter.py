"""Inexact prompts: the noise itself, and what it does to models whose answers are known."""

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from torchvision.ops import box_iou

from insight.engine import evaluate, jitter
from insight.engine.sopseg_trainer import SOPSegTrainer
from insight.inference import predictor as predictor_module
from insight.modeling.meta_arch import sopseg as face
from insight.modeling.sopseg import SOPSeg
from insight.modeling.sopseg.decoders import build_decoder
from insight.modeling.sopseg.encoders import ViTEncoder
from insight.modeling.sopseg.prompt_encoder import PromptEncoder

SIZE = (64, 80)


def test_shifts_are_in_proportion_and_stay_in_the_image():
    boxes = torch.tensor([[10.0, 10, 30, 20], [60, 40, 80, 64]])
    assert torch.equal(jitter.noisy_boxes(boxes, 0.0, 3, SIZE), boxes)
    small, large = (jitter.noisy_boxes(boxes, noise, 3, SIZE) for noise in (0.1, 0.2))
    torch.testing.assert_close(large[0] - boxes[0], 2 * (small[0] - boxes[0]))
    assert ((small - boxes).abs() <= torch.tensor([2.0, 2.4]).repeat(2)).all() and not torch.equal(small, boxes)
    assert (large[:, 2:] <= torch.tensor([80.0, 64])).all()
    assert torch.equal(jitter.noisy_boxes(boxes, 0.1, 3, SIZE), small)
    assert not torch.equal(jitter.noisy_boxes(boxes, 0.1, 4, SIZE), small)


def test_a_box_of_which_nothing_is_left_is_not_shifted():
    sliver = torch.tensor([[-99.0, 0, 1, 10]]).repeat(20, 1)
    noisy = jitter.noisy_boxes(sliver, 0.3, 0, SIZE)
    kept = noisy[:, 0] == -99
    assert kept.any() and not kept.all()
    assert (noisy[:, 2] > noisy[:, 0]).all()


class Fills:
    """Answers a box with all of its pixels."""

    def set_image(self, image, order):
        self.size = image.shape[:2]

    def predict(self, *, boxes, correct_boxes):
        masks = torch.zeros(len(boxes), *self.size, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.round().int().tolist()):
            mask[y1:y2, x1:x2] = True
        return type("Answer", (), {"masks": masks})


def test_a_model_that_fills_boxes_is_as_good_as_they_are(rectangles):
    noises = (0.0, 0.1, 0.3)
    exact, small, large = jitter._on_dataset(Fills(), rectangles, noises)
    assert exact["mIoU"] == 100 and exact["instances"] == 15
    for noise, found in ((0.1, small), (0.3, large)):
        overlaps = []
        for entry in DatasetCatalog.get(rectangles):
            boxes = torch.tensor([a["bbox"] for a in entry["annotations"]]).reshape(-1, 4).float()
            boxes[:, 2:] += boxes[:, :2]
            noisy = jitter.noisy_boxes(boxes, noise, entry["image_id"], SIZE).round()
            overlaps.append(box_iou(noisy, boxes).diagonal())
        assert found["mIoU"] == pytest.approx(100 * torch.cat(overlaps).mean().item(), abs=1e-3)
    assert large["mIoU"] < small["mIoU"] < 100


def test_ids_of_images_may_be_text(rectangles):
    dicts = [{**entry, "image_id": f"image {entry['image_id']}"} for entry in DatasetCatalog.get(rectangles)]
    DatasetCatalog.register("test_text_ids", lambda: dicts)
    MetadataCatalog.get("test_text_ids").thing_classes = MetadataCatalog.get(rectangles).thing_classes
    try:
        first, again = (jitter._on_dataset(Fills(), "test_text_ids", (0.0, 0.1)) for _ in range(2))
    finally:
        DatasetCatalog.remove("test_text_ids")
        MetadataCatalog.remove("test_text_ids")
    assert first == again and first[0]["mIoU"] == 100 and 50 < first[1]["mIoU"] < 100


def test_sopseg_without_noise_is_its_evaluation(tiny_cfg, monkeypatch, tmp_path):
    def build_small(encoder, decoder):
        image_encoder = ViTEncoder(48, 4, 3, (1, 3))
        return SOPSeg(image_encoder, PromptEncoder(), build_decoder(decoder, image_encoder.shallow_channels))

    monkeypatch.setattr(face, "build_sopseg", build_small)
    tiny_cfg.MODEL.META_ARCHITECTURE, tiny_cfg.MODEL.SOPSEG.INPUT_SIZE = "SOPSegMetaArch", 64
    tiny_cfg.INPUT.FORMAT = "RGB"
    tiny_cfg.MODEL.SOPSEG.DECODER = "sam"
    model = SOPSegTrainer.build_model(tiny_cfg)
    torch.save({"model": model.state_dict()}, tmp_path / "model.pth")
    tiny_cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    found = jitter.jitter_curve(tiny_cfg, (0.0, 0.2))["rectangles"]["jitter"]
    plain = evaluate(tiny_cfg)["prompted"]
    assert found["mIoU at 0"] == plain["mIoU"] and found["class mIoU at 0"] == plain["class mIoU"]
    assert found["boundary mIoU at 0"] == plain["boundary mIoU"]
    assert found["mIoU at 0.2"] != found["mIoU at 0"]


def test_a_detector_may_correct_the_boxes(tiny_cfg, tmp_path, monkeypatch):
    tiny_cfg.MODEL.META_ARCHITECTURE = "PromptRCNN"
    torch.save({"model": build_model(tiny_cfg).state_dict()}, tmp_path / "model.pth")
    tiny_cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    as_given = jitter.jitter_curve(tiny_cfg, (0.3,))
    shares = []
    real = predictor_module.corrected_where_far

    def seen(boxes, corrected, below, image_size):
        shares.append(below)
        return real(boxes, corrected, below, image_size)

    monkeypatch.setattr(predictor_module, "corrected_where_far", seen)
    assert jitter.jitter_curve(tiny_cfg, (0.3,)) == as_given and not shares
    corrected = jitter.jitter_curve(tiny_cfg, (0.3,), correct_boxes=0.9)
    assert shares and set(shares) == {0.9} and corrected != as_given


def test_sopseg_corrects_no_boxes(tiny_cfg):
    tiny_cfg.MODEL.META_ARCHITECTURE = "SOPSegMetaArch"
    with pytest.raises(ValueError, match="^correct_boxes: SOPSeg uses boxes as they are"):
        jitter.jitter_curve(tiny_cfg, correct_boxes=0.5)


@pytest.mark.parametrize("noise", [-0.1, 0.5])
def test_a_noise_that_is_none_is_told(tiny_cfg, noise):
    with pytest.raises(ValueError, match="noises: expected numbers from 0 to below 0.5"):
        jitter.jitter_curve(tiny_cfg, [noise])


@pytest.mark.parametrize("architecture", ["PromptRCNN", "SOPSegMetaArch"])
def test_a_data_set_without_masks_is_told_before_the_model_is_loaded(tiny_cfg, architecture):
    tiny_cfg.MODEL.META_ARCHITECTURE, tiny_cfg.MODEL.WEIGHTS = architecture, "there/is/none.pth"
    tiny_cfg.DATASETS.TEST = (*tiny_cfg.DATASETS.TEST, "test_boxes")
    DatasetCatalog.register("test_boxes", lambda: [{"annotations": [{"bbox": [0, 0, 9, 9]}]}])
    try:
        with pytest.raises(ValueError, match="^test_boxes: no annotation has a mask"):
            jitter.jitter_curve(tiny_cfg)
    finally:
        DatasetCatalog.remove("test_boxes")
