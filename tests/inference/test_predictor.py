import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.layers.mask_ops import paste_masks_in_image
from detectron2.modeling import build_model
from detectron2.structures import Boxes
from detectron2.utils.visualizer import Visualizer
from helpers.tiny_prompt_rcnn import build, make_tiny_config
from helpers.tiny_sopseg import save_tiny_checkpoint, small_sopseg
from PIL import Image

from insight import PromptPredictor, SOPSegPredictor
from insight.checkpoint import CheckpointError
from insight.errors import InputError
from insight.inference import build_predictor
from insight.inference import predictor as predictor_module
from insight.modeling.checkpointer import Checkpointer
from insight.modeling.prompt import PROMPT_FEATURE
from insight.structures.oriented_boxes import enclosing_boxes

IMAGE = np.random.default_rng(0).integers(0, 256, (128, 160, 3), dtype=np.uint8)
BOXES = torch.tensor([[20.0, 10, 60, 50], [-8.0, 30, 24, 70], [100.0, 90, 101, 127.5], [20.0, 10, 60, 50]])


@pytest.fixture
def predictor(prompt_model):
    predictor = PromptPredictor(prompt_model, class_names=["square", "bar"], min_size=64, max_size=96)
    predictor.set_image(IMAGE)
    return predictor


@pytest.fixture
def network_input(prompt_model):
    """The image as Detectron2's own code would prepare it; the model reads BGR."""
    assert prompt_model.input_format == "BGR"
    bgr = np.ascontiguousarray(IMAGE[:, :, ::-1])
    resized = T.ResizeShortestEdge(64, 96).get_transform(bgr).apply_image(bgr)
    planes = [torch.as_tensor(x.transpose(2, 0, 1).copy()) for x in (resized, bgr)]
    return {"image": planes[0], "prompt_image": planes[1], "height": 128, "width": 160}


def test_detect_gives_what_the_model_gives(predictor, prompt_model, network_input):
    with torch.no_grad():
        expected = prompt_model([network_input])[0]["instances"]
    found = predictor.detect()
    assert len(found) == len(expected) > 0 and found.image_size == (128, 160)
    torch.testing.assert_close(found.boxes, expected.pred_boxes.tensor)
    assert found.scores.equal(expected.scores) and found.class_ids.equal(expected.pred_classes)
    assert (found.masks.to_bitmaps() != expected.pred_masks).float().mean() < 1e-4


def test_proposals_are_what_the_roi_heads_get(predictor, prompt_model):
    given = []
    hook = prompt_model.roi_heads.register_forward_pre_hook(lambda _, inputs: given.append(inputs[2][0]))
    predictor.detect()
    hook.remove()
    proposals, (expected,) = predictor.propose(), given
    assert len(proposals) == len(expected) > 1
    torch.testing.assert_close(proposals / 2, expected.proposal_boxes.tensor)  # 64 of 128 rows
    assert expected.objectness_logits.diff().le(0).all()


@pytest.mark.parametrize("part", ["cascade", "scnet", "pointrend"])
def test_detect_gives_what_the_model_gives_whatever_its_heads(part, network_input):
    torch.manual_seed(0)
    model = build(make_tiny_config("base/insight.yaml", f"base/{part}.yaml")).eval()
    predictor = PromptPredictor(model, min_size=64, max_size=96)
    if model.input_format == "RGB":
        network_input = {key: x.flip(0) if torch.is_tensor(x) else x for key, x in network_input.items()}
    with torch.no_grad():
        expected = model([network_input])[0]["instances"]
    predictor.set_image(IMAGE)
    found = predictor.detect()
    assert len(found) == len(expected) > 0
    torch.testing.assert_close(found.boxes, expected.pred_boxes.tensor)
    torch.testing.assert_close(found.scores, expected.scores)
    assert (found.masks.to_bitmaps() != expected.pred_masks).float().mean() < 1e-4


def test_detections_may_be_chosen_by_their_boxes(predictor, prompt_model):
    asked = []

    def left_half(boxes):
        asked.append(boxes)
        return boxes[:, 2] <= 80

    everything, masks_made = predictor.detect(), []
    hook = prompt_model.roi_heads.mask_head.register_forward_pre_hook(
        lambda _, inputs: masks_made.append(len(inputs[0]))
    )
    found = predictor.detect_where(left_half)
    hook.remove()
    kept = left_half(everything.boxes)
    assert asked[0].equal(everything.boxes) and 0 < len(found) == int(kept.sum()) < len(everything)
    assert masks_made == [len(found)]
    assert found.boxes.equal(everything.boxes[kept]) and found.scores.equal(everything.scores[kept])
    differing = found.masks.to_bitmaps() != everything.masks.to_bitmaps()[kept]
    assert differing.float().mean() < 1e-4
    assert len(predictor.detect_where(lambda boxes: torch.zeros(len(boxes), dtype=torch.bool))) == 0
    assert prompt_model.roi_heads.mask_on


def test_tiles_are_not_resized_and_their_limits_grow(predictor, prompt_model):
    heads, generator = prompt_model.roi_heads.box_predictor, prompt_model.proposal_generator
    limits = heads.test_topk_per_image, dict(generator.post_nms_topk), dict(generator.pre_nms_topk)
    tiles = predictor.for_tiles()
    tiles.set_image(IMAGE)
    assert tiles._image.encoded.images.image_sizes[0] == IMAGE.shape[:2]
    assert predictor._image.encoded.images.image_sizes[0] != IMAGE.shape[:2]  # and the first stays as it was
    seen = []
    hook = heads.register_forward_hook(lambda module, *_: seen.append(module.test_topk_per_image))
    tiles.detect()
    predictor.detect()
    hook.remove()
    times = 128 * 160 / 64**2
    assert seen == [round(limits[0] * times), limits[0]]
    assert limits == (heads.test_topk_per_image, generator.post_nms_topk, generator.pre_nms_topk)


def test_a_tile_has_windows_of_its_scene_as_context_and_an_image_itself(predictor, prompt_model, monkeypatch):
    monkeypatch.setattr(prompt_model.prompt_encoder.global_to_local, "window", 64)
    tiles = predictor.for_tiles()
    tiles.set_tile(IMAGE, (48, 0))  # windows begin at multiples of 32 in the scene
    context = tiles._image.encoded.features[PROMPT_FEATURE]
    x = [(0, 48), (16, 80), (48, 112), (80, 144), (112, 160)]
    assert list(context.windows[0]) == [(x0, y, x1, y + 64) for y in (0, 32, 64) for x0, x1 in x]
    in_tile = tiles.predict(boxes=BOXES)
    tiles.set_image(IMAGE)
    assert list(tiles._image.encoded.features[PROMPT_FEATURE].windows[0]) == [(0, 0, 160, 128)]
    assert not tiles.predict(boxes=BOXES).scores.equal(in_tile.scores)


def test_predict_answers_each_box_in_its_order(predictor, prompt_model, network_input):
    with torch.no_grad():
        expected = prompt_model.segment_boxes(prompt_model.encode([network_input]), [BOXES / 2])[0]
    found = predictor.predict(boxes=BOXES)
    assert found.boxes.equal(BOXES)
    torch.testing.assert_close(found.scores, expected.scores)
    assert found.class_ids.equal(expected.pred_classes)
    assert found.scores[0] == found.scores[3] and found.masks[0] == found.masks[3]
    # A mask stays in its box, in the frame of the image that was given.
    rows, columns = found.masks.to_bitmaps()[0].nonzero().unbind(1)
    assert rows.min() >= 10 and rows.max() < 50 and columns.min() >= 20 and columns.max() < 60


def test_oriented_boxes_follow_the_boxes(predictor):
    oriented = [[80.0, 60, 40, 10, 30]]
    both = predictor.predict(boxes=BOXES[:1], oriented_boxes=oriented)
    alone = predictor.predict(oriented_boxes=oriented)
    assert both.boxes.equal(torch.cat([BOXES[:1], enclosing_boxes(oriented)]))
    assert alone.boxes.equal(enclosing_boxes(oriented))
    torch.testing.assert_close(alone.scores, both.scores[1:])


def test_boxes_are_corrected_where_the_model_would_have_them_elsewhere(predictor, prompt_model, monkeypatch):
    monkeypatch.setattr(predictor_module, "BOXES_AT_ONCE", 3)
    right, down = [6.0, 0, 6, 0], [0.0, 8, 0, 8]
    shifts = torch.tensor([right, [1.0, 0, 1, 0], down, right])  # inside the image IoU 0.54, 0.92, 0.57, 0.54
    shifted = BOXES + 2 * shifts
    shifted[1, 0], shifted[2, 3] = 0, 128  # no correction leaves the image
    asked = []

    def correct(encoded, boxes, classes=None):
        asked.append((boxes[0], classes))
        return [boxes[0] + shifts[len(asked) * 3 - 3 :][: len(boxes[0])]]

    monkeypatch.setattr(prompt_model, "correct_boxes", correct)
    oriented = [[80.0, 60, 40, 10, 30]]
    found = predictor.predict(boxes=BOXES, oriented_boxes=oriented, correct_boxes=0.7)
    expected = torch.cat([BOXES, enclosing_boxes(oriented)])
    expected[[0, 2, 3]] = shifted[[0, 2, 3]]
    assert found.boxes.equal(expected)
    assert torch.cat([boxes for boxes, _ in asked]).equal(BOXES / 2)  # pixels of the network's input; not the oriented
    again = predictor.predict(boxes=expected)
    assert found.scores.equal(again.scores) and found.masks.codes == again.masks.codes
    asked.clear()
    told = predictor.predict(boxes=BOXES, correct_boxes=1.0, classes=[1, "square", "bar", 0])
    assert told.boxes.equal(shifted)
    assert [classes[0].tolist() for _, classes in asked] == [[1, 0, 1], [0]]
    asked.clear()
    assert predictor.predict(boxes=BOXES).boxes.equal(BOXES) and not asked
    assert len(predictor.predict(boxes=[], correct_boxes=0.5)) == 0


def test_oriented_boxes_and_classes_beside_boxes_that_are_corrected(predictor):
    oriented, classes = [[80.0, 60, 40, 10, 30]], ["bar", "bar", "square", "bar", "square"]
    both = predictor.predict(boxes=BOXES, oriented_boxes=oriented, classes=classes, correct_boxes=1.0)
    boxes = predictor.predict(boxes=BOXES, classes=classes[:4], correct_boxes=1.0)
    assert not boxes.boxes.isclose(BOXES).any()
    assert both.boxes.equal(torch.cat([boxes.boxes, enclosing_boxes(oriented)]))
    assert both.class_ids.tolist() == [1, 1, 0, 1, 0]


def test_a_box_over_the_edge_that_the_model_would_leave_stays(predictor, prompt_model):
    deltas = prompt_model.roi_heads.box_predictor.bbox_pred
    with torch.no_grad():
        for parameter in (deltas.weight, deltas.bias):
            parameter.zero_()
    over = torch.tensor([[-30.0, 20, 30, 60], [150.0, 100, 200, 200]])  # half and nine tenths outside
    assert predictor.predict(boxes=over, correct_boxes=0.7).boxes.equal(over)


def test_a_class_that_is_given_has_its_own_score_and_mask(predictor, prompt_model, monkeypatch):
    monkeypatch.setattr(predictor_module, "BOXES_AT_ONCE", 3)  # classes must follow their boxes into the batches
    logits = []
    handle = prompt_model.roi_heads.mask_head.predictor.register_forward_hook(lambda *x: logits.append(x[2]))
    given = predictor.predict(boxes=BOXES, classes=[1, "square", "bar", 0])
    handle.remove()
    assert given.class_ids.tolist() == [1, 0, 1, 0]
    chosen = torch.cat(logits)[range(4), given.class_ids].sigmoid()
    assert (given.masks.to_bitmaps() != paste_masks_in_image(chosen, BOXES, (128, 160))).float().mean() < 1e-4
    told = predictor.predict(boxes=BOXES)
    same = given.class_ids == told.class_ids
    assert same.any() and not same.all()
    assert given.scores[same].equal(told.scores[same]) and (given.scores[~same] < told.scores[~same]).all()
    assert given.masks[~same].codes != told.masks[~same].codes
    for one in (1, "bar"):
        assert predictor.predict(boxes=BOXES, classes=one).class_ids.tolist() == [1, 1, 1, 1]
    assert len(predictor.predict(boxes=[], classes="bar")) == 0


def test_without_masks_by_class_the_class_does_not_touch_the_mask(prompt_cfg):
    cfg = prompt_cfg.clone()
    cfg.MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK = True
    predictor = PromptPredictor(build_model(cfg), min_size=64, max_size=96)
    predictor.set_image(IMAGE)
    square, bar = (predictor.predict(boxes=BOXES, classes=k) for k in (0, 1))
    assert square.masks.codes == bar.masks.codes and not square.scores.equal(bar.scores)


def test_an_image_is_encoded_once(predictor, prompt_model):
    calls = []
    handle = prompt_model.backbone.register_forward_hook(lambda *_: calls.append(1))
    try:
        predictor.set_image(IMAGE)
        for _ in range(3):
            predictor.predict(boxes=BOXES)
        predictor.detect()
        assert len(calls) == 1
        predictor.set_image(IMAGE)
        assert len(calls) == 2
    finally:
        handle.remove()


def test_many_boxes_go_through_in_batches(predictor, prompt_model, monkeypatch):
    whole = predictor.predict(boxes=BOXES)
    sizes = []
    handle = prompt_model.roi_heads.box_head.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    monkeypatch.setattr(predictor_module, "BOXES_AT_ONCE", 3)
    parts = predictor.predict(boxes=BOXES)
    handle.remove()
    assert sizes == [3, 1]
    torch.testing.assert_close(parts.scores, whole.scores)
    assert parts.boxes.equal(BOXES) and parts.class_ids.equal(whole.class_ids)


def test_the_order_of_bands_is_honoured(predictor, prompt_model, tmp_path):
    expected = predictor.predict(boxes=BOXES).scores
    predictor.set_image(IMAGE[:, :, ::-1], order="BGR")
    assert predictor.predict(boxes=BOXES).scores.equal(expected)
    Image.fromarray(IMAGE).save(tmp_path / "image.png")
    predictor.set_image(tmp_path / "image.png")
    assert predictor.predict(boxes=BOXES).scores.equal(expected)
    predictor.set_image(IMAGE[:, :, ::-1])
    assert not predictor.predict(boxes=BOXES).scores.equal(expected)


def test_no_boxes_give_no_instances_with_all_fields(predictor):
    for nothing in ([], torch.zeros(0, 4)):
        found = predictor.predict(boxes=nothing)
        assert len(found) == 0 and len(found.masks) == 0
        assert found.class_ids.dtype == torch.int64 and found.image_size == (128, 160)


def test_detectron2s_visualizer_draws_the_result(predictor):
    drawn = Visualizer(IMAGE, {"thing_classes": predictor.class_names}).draw_instance_predictions(
        predictor.predict(boxes=BOXES).to_instances()
    )
    assert not np.array_equal(drawn.get_image(), IMAGE)


def test_wrong_use_is_told(predictor, prompt_model):
    fresh = PromptPredictor(prompt_model)
    for use in (lambda: fresh.predict(boxes=BOXES), fresh.detect):
        with pytest.raises(RuntimeError, match="call set_image"):
            use()
    with pytest.raises(ValueError, match="predict: expected boxes or oriented_boxes, got neither"):
        predictor.predict()
    with pytest.raises(ValueError, match=r"boxes\[1\] = \[200.0, 0.0, 210.0, 5.0\] lies outside the image"):
        predictor.predict(boxes=[[0, 0, 5, 5], [200, 0, 210, 5]])
    with pytest.raises(ValueError, match=r"oriented_boxes\[0\] .*outside the image"):
        predictor.predict(oriented_boxes=[[500, 500, 5, 5, 0]])
    for unknown in ("circle", 2, -1):
        with pytest.raises(
            ValueError, match=f"classes: unknown class {unknown!r}; the model's classes are square, bar"
        ):
            predictor.predict(boxes=BOXES, classes=unknown)
    with pytest.raises(ValueError, match="classes: expected one class for all boxes or one for each of 4, got 3"):
        predictor.predict(boxes=BOXES, classes=[0, 1, 0])
    for wrong in (-0.1, 70, float("nan"), True, "0.7", None):
        with pytest.raises(ValueError, match=f"correct_boxes: expected an IoU from 0 .*, got {wrong!r}"):
            predictor.predict(boxes=BOXES, correct_boxes=wrong)
    for points in ({"points": [[30, 40]], "labels": [1]}, {"boxes": BOXES, "points": [[[30, 40]]] * 4}):
        with pytest.raises(InputError, match="points: a detector accepts only boxes and oriented_boxes"):
            predictor.predict(**points)
    with pytest.raises(ValueError, match="image: expected uint8"):
        predictor.set_image(IMAGE / 255)
    with pytest.raises(ValueError, match="class_names: expected the names of 2 classes, got 1"):
        PromptPredictor(prompt_model, class_names=["one"])


def test_a_failed_set_image_does_not_leave_the_old_image_in_doubt(predictor):
    before = predictor.predict(boxes=BOXES).scores
    with pytest.raises(OSError, match="no such image"):
        predictor.set_image("absent.png")
    assert predictor.predict(boxes=BOXES).scores.equal(before)


def test_an_image_that_cannot_be_encoded_leaves_none(predictor, prompt_model, monkeypatch):
    def encode(inputs):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(prompt_model, "encode", encode)
    with pytest.raises(torch.OutOfMemoryError):
        predictor.set_image(np.zeros((200, 300, 3), np.uint8))
    with pytest.raises(RuntimeError, match="set_image"):
        predictor.predict(boxes=BOXES)


def test_from_a_config_with_weights(prompt_cfg, prompt_model, predictor, tmp_path):
    class Trainer:
        def state_dict(self):
            return {"class_names": ["a", "b"]}

    cfg = prompt_cfg.clone()
    with pytest.raises(CheckpointError, match="MODEL.WEIGHTS is empty"):
        PromptPredictor(cfg)
    Checkpointer(prompt_model, str(tmp_path), trainer=Trainer()).save("model")
    cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    loaded = PromptPredictor(cfg)
    loaded.set_image(IMAGE)
    assert loaded.class_names == ["a", "b"]
    torch.testing.assert_close(loaded.predict(boxes=BOXES).scores, predictor.predict(boxes=BOXES).scores)
    for key, size in (("MIN_SIZE_TEST", -5), ("MAX_SIZE_TEST", 0)):
        wrong = cfg.clone()
        wrong.INPUT[key] = size
        with pytest.raises(ValueError, match=f"^INPUT.{key}: expected pixels, .* got {size}$"):
            PromptPredictor(wrong)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 5
    with pytest.raises(CheckpointError, match="does not fit the model: it was trained for 2 classes, the model has 5"):
        PromptPredictor(cfg)


def test_a_model_without_prompts_is_named(prompt_cfg):
    cfg = prompt_cfg.clone()
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    with pytest.raises(
        InputError, match="GeneralizedRCNN does not accept box prompts: set MODEL.META_ARCHITECTURE to PromptRCNN"
    ):
        PromptPredictor(build_model(cfg))


def test_a_box_may_reach_a_hundred_sides_beyond_the_image_and_no_farther(predictor):
    found = predictor.predict(boxes=[[-16000.0, -16000, 16160, 16128]])
    assert len(found) == 1 and found.scores.isfinite().all()
    with pytest.raises(ValueError, match=r"boxes\[1\] = .* reaches farther than 16000 pixels beyond the image"):
        predictor.predict(boxes=[[0, 0, 9, 9], [-1e30, 0, 1e30, 40]])


@pytest.mark.filterwarnings("error")
def test_an_image_of_one_pixel_that_is_read_only(predictor, monkeypatch):
    monkeypatch.setattr(predictor.model, "input_format", "RGB")  # else the bands are reversed, in a copy
    pixel = np.zeros((1, 1, 3), np.uint8)
    pixel.flags.writeable = False
    torch.set_warn_always(True)
    try:
        predictor.set_image(pixel)
    finally:
        torch.set_warn_always(False)
    assert predictor.image_size == (1, 1)


def test_sopseg_is_sent_where_its_prompts_are_answered(prompt_cfg):
    cfg = prompt_cfg.clone()
    cfg.MODEL.META_ARCHITECTURE = "SOPSegMetaArch"
    for model in (cfg, small_sopseg()):
        with pytest.raises(InputError, match="SOPSeg neither detects nor classifies; use SOPSegPredictor"):
            PromptPredictor(model)


def test_an_image_of_one_call_is_not_set(predictor):
    first = predictor.predict(boxes=BOXES)
    other = predictor.predict(boxes=BOXES, image=IMAGE[::-1])
    assert not other.scores.equal(first.scores)
    assert predictor.predict(boxes=BOXES).scores.equal(first.scores)
    bgr = predictor.predict(boxes=BOXES, image=IMAGE[:, :, ::-1], order="BGR")
    assert bgr.scores.equal(first.scores) and bgr.masks.codes == first.masks.codes


def test_every_form_of_boxes_gives_the_same_answer(predictor):
    expected = predictor.predict(boxes=BOXES)
    array = BOXES.numpy()
    for boxes in (
        Boxes(BOXES),
        array[::-1][::-1],
        array.astype(">f8"),
        array.astype(object),
        BOXES.double(),
        array.tolist(),
    ):
        found = predictor.predict(boxes=boxes)
        assert found.boxes.equal(BOXES) and found.masks.codes == expected.masks.codes
    one = predictor.predict(boxes=BOXES[0])
    assert one.boxes.equal(BOXES[:1]) and one.masks.codes == expected.masks.codes[:1]


def test_the_predictor_of_a_config(prompt_cfg, prompt_model, tmp_path, monkeypatch):
    cfg = prompt_cfg.clone()
    Checkpointer(prompt_model, str(tmp_path)).save("model")
    cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    assert isinstance(build_predictor(cfg), PromptPredictor)
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.SOPSEG.ENCODER, cfg.MODEL.SOPSEG.DECODER = "SOPSegMetaArch", "vit_b", "sam"
    save_tiny_checkpoint(tmp_path / "sopseg.pth", monkeypatch)
    cfg.MODEL.WEIGHTS, cfg.MODEL.SOPSEG.INPUT_SIZE = str(tmp_path / "sopseg.pth"), 64
    predictor = build_predictor(cfg)
    assert isinstance(predictor, SOPSegPredictor) and predictor.crop_size == 64
    cfg.MODEL.WEIGHTS = ""
    with pytest.raises(InputError, match="MODEL.WEIGHTS is empty: expected a checkpoint of SOPSeg or SAM"):
        build_predictor(cfg)
    cfg.MODEL.META_ARCHITECTURE = "Mystery"
    with pytest.raises(InputError, match="MODEL.META_ARCHITECTURE: unknown model 'Mystery'"):
        build_predictor(cfg)


def test_an_image_that_is_shrunk_far_is_told_once(prompt_model, caplog):
    predictor = PromptPredictor(prompt_model, min_size=64, max_size=96)
    predictor.set_image(np.zeros((120, 90, 3), np.uint8))  # to 0.71 of its size
    assert not caplog.records
    for _ in range(2):
        predictor.set_image(np.zeros((480, 100, 3), np.uint8))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and "100 x 480 pixels is shrunk to 0.20 of its size: an object of 32 pixels has 6" in said[0]
    assert "INPUT.MAX_SIZE_TEST" in said[0]
