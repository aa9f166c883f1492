"""SCNetROIHeads: what its masks learn from, what joins its features, and the cases that break detectors."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import Boxes
from helpers.tiny_prompt_rcnn import build, losses_of, make_inputs, make_tiny_config, wake_prompts

from insight.structures.context_windows import ContextWindows

SCNET = "base/scnet.yaml"
ALL = "base/insight.yaml"
SEMANTIC = {"MODEL__SCNET__SEMANTIC__ENABLED": True}
WITH_AND_WITHOUT = pytest.mark.parametrize("options", [{}, SEMANTIC], ids=["plain", "semantic"])


def seen_by(module):
    """What each call of a module is given."""
    calls = []
    module.register_forward_hook(lambda _, arguments, __: calls.append(arguments))
    return calls


def test_box_losses_are_those_of_a_cascade_whose_features_have_the_context():
    scnet = build(make_tiny_config(SCNET))
    cascade = build(make_tiny_config("base/cascade.yaml", MODEL__ROI_HEADS__NAME="CascadeROIHeads"))
    scnet.roi_heads.context_head.blocks[0].forward = lambda x: x * 0  # then the context is 0: the others start as x
    ours, theirs = losses_of(scnet, make_inputs()), losses_of(cascade, make_inputs())
    for stage, weight in enumerate((1.0, 0.5, 0.25)):
        for name in (f"loss_cls_stage{stage}", f"loss_box_reg_stage{stage}"):
            torch.testing.assert_close(ours[name], weight * theirs[name])
    assert {name for name in ours if name not in theirs} == {"loss_context"}


def test_masks_learn_from_the_last_stage_alone():
    model = build(make_tiny_config(SCNET)).train()
    for predictor in model.roi_heads.box_predictor:  # so that boxes move from stage to stage
        torch.nn.init.normal_(predictor.bbox_pred.weight, std=0.05)
    boxes, masks = seen_by(model.roi_heads.box_pooler), seen_by(model.roi_heads.mask_pooler)
    heads, relayed = seen_by(model.roi_heads.box_predictor[-1]), seen_by(model.roi_heads.relay)
    losses = losses_of(model, make_inputs(objects=6))
    assert len(boxes) == 3 and len(masks) == len(relayed) == 1
    last = torch.cat([b.tensor for b in boxes[-1][1]])
    foreground = torch.cat([b.tensor for b in masks[0][1]])
    place = (last[None] == foreground[:, None]).all(dim=2).int().argmax(dim=1)
    assert len(foreground) > 0 and torch.equal(last[place], foreground)
    assert torch.equal(relayed[0][0], heads[0][0][place])  # the box head's feature of the same boxes
    assert {name for name in losses if "mask" in name} == {"loss_mask"}


def test_weights_of_the_losses_are_the_published_ones():
    inputs = make_inputs()
    weighted = losses_of(build(make_tiny_config(SCNET, **SEMANTIC)), inputs)
    ones = {
        "MODEL__ROI_BOX_CASCADE_HEAD__LOSS_WEIGHTS": [1.0, 1.0, 1.0],
        "MODEL__SCNET__CONTEXT_WEIGHT": 1.0,
        "MODEL__SCNET__SEMANTIC__WEIGHT": 1.0,
    }
    plain = losses_of(build(make_tiny_config(SCNET, **SEMANTIC, **ones)), inputs)
    assert float(weighted["loss_context"] / plain["loss_context"]) == pytest.approx(3.0)
    assert float(weighted["loss_semantic"] / plain["loss_semantic"]) == pytest.approx(0.2)
    assert float(weighted["loss_mask"] / plain["loss_mask"]) == pytest.approx(1.75 / 3)
    assert float(weighted["loss_cls_stage2"] / plain["loss_cls_stage2"]) == pytest.approx(0.25)


def test_context_loss_is_the_cross_entropy_of_the_classes_shown():
    model = build(make_tiny_config(SCNET))
    torch.nn.init.normal_(model.roi_heads.context_head.predictor.weight)
    outputs = []
    model.roi_heads.context_head.register_forward_hook(lambda _, __, output: outputs.append(output[0]))
    inputs = make_inputs()
    inputs[0]["instances"].gt_classes[:] = torch.tensor([2, 0, 2])
    inputs[1]["instances"].gt_classes[:] = 1
    loss = losses_of(model, inputs)["loss_context"]
    shown = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    chance = outputs[0].sigmoid()
    expected = -(shown * chance.log() + (1 - shown) * (1 - chance).log()).mean()
    torch.testing.assert_close(loss, 3 * expected)


@WITH_AND_WITHOUT
def test_features_are_pooled_plus_context_plus_semantic(options):
    model = build(make_tiny_config(SCNET, **options)).eval()
    heads = model.roi_heads
    inputs = make_inputs()
    with torch.no_grad():
        features = model.encode(inputs).features
        boxes = [Boxes(x["instances"].gt_boxes.tensor) for x in inputs]
        for pooler, names in ((heads.box_pooler, heads.box_in_features), (heads.mask_pooler, heads.mask_in_features)):
            joined = pooler([features[name] for name in names], boxes)
            expected = pooler.pooler([features[name] for name in ("p2", "p3", "p4", "p5")], boxes)
            _, context = heads.context_head(features["p6"])
            expected += torch.cat([context[:1].expand(3, -1), context[1:].expand(3, -1)])[:, :, None, None]
            if options:
                expected += pooler.semantic_pooler([features["scene"].semantic], boxes)
                assert features["scene"].semantic.shape == (2, 32, 12, 16)  # stride 8 of 96 x 128
            torch.testing.assert_close(joined, expected)


def test_in_a_scene_the_context_of_a_box_is_a_window_whatever_the_tile():
    heads = build(make_tiny_config(SCNET, **SEMANTIC)).roi_heads.eval()
    stride, channels = heads.context_stride, heads.context_head.predictor.in_features
    torch.manual_seed(0)
    scene = torch.randn(channels, 2048 // stride, 2048 // stride)
    centres = torch.tensor([[700.0, 640], [900, 800], [1000, 700]])  # in the cores of all three tiles

    def context(x, y, side):
        cells = slice(y // stride, (y + side) // stride), slice(x // stride, (x + side) // stride)
        features = dict.fromkeys(heads.scene_in_features, scene[:, *cells][None])
        encoded = heads.encode(features, [(side, side)], [(x, y)])
        corner = torch.tensor([x, y, x, y])
        boxes = Boxes(torch.cat([centres - 8, centres + 8], 1) - corner)
        return encoded["scene"].context_of([boxes])

    with torch.no_grad():
        contexts = [context(*tile) for tile in ((256, 256, 1024), (512, 256, 1024), (0, 0, 2048))]
        window = scene[:, 512 // stride : 1024 // stride, 512 // stride : 1024 // stride]  # of the first box
        whole = heads.encode(dict.fromkeys(heads.scene_in_features, scene[None]))["scene"]
        of_window, of_scene = heads.context_head(window[None])[1], heads.context_head(scene[None])[1]
    torch.testing.assert_close(contexts[0][:1], of_window)
    for other in contexts[1:]:
        torch.testing.assert_close(other, contexts[0])
    assert len(contexts[0].unique(dim=0)) > 1
    torch.testing.assert_close(whole.context_of([Boxes(torch.rand(2, 4))]), of_scene.expand(2, -1))


def test_a_tile_of_a_scene_is_encoded_as_one():
    model = build(make_tiny_config(SCNET)).eval()
    image = make_inputs()[0]["image"]
    seen = seen_by(model.roi_heads.context_head)
    model.roi_heads.window = 64
    with torch.no_grad():
        model.encode([{"image": image, "origin": (0, 0)}, {"image": image}])
        model.encode([{"image": image}])
    height, width = image.shape[-2:]
    windows = len(ContextWindows((height, width), 64, (0, 0)))
    assert windows > 1 and len(seen) == windows + 1 + 1


def test_a_mask_sees_the_last_box_heads_feature_of_its_box():
    model = build(make_tiny_config(SCNET)).eval()
    heads = model.roi_heads
    inputs = make_inputs()[:1]
    given, seen = inputs[0]["instances"].gt_boxes, seen_by(heads.mask_head)
    with torch.no_grad():
        encoded = model.encode(inputs)
        model.segment_boxes(encoded, [given.tensor])
        maps = [encoded.features[name] for name in heads.box_in_features]
        shared = heads.box_head[2](heads.box_pooler(maps, [given]))
        grid = (shared @ heads.relay.fc.weight.T + heads.relay.fc.bias).view(3, 32, 7, 7)
        relayed = F.interpolate(grid, scale_factor=2, mode="bilinear", align_corners=True)
        torch.testing.assert_close(seen[0][0], heads.mask_pooler(maps, [given]) + relayed)


def test_a_given_box_is_pooled_once_for_its_class_and_once_for_its_mask():
    model = wake_prompts(build(make_tiny_config(SCNET, ALL))).eval()
    heads = model.roi_heads
    inputs = make_inputs()
    with torch.no_grad():
        encoded = model.encode(inputs)
        poolers, last = (seen_by(heads.box_pooler), seen_by(heads.mask_pooler)), seen_by(heads.box_head[-1])
        found = model.segment_boxes(encoded, [x["instances"].gt_boxes.tensor for x in inputs])
        assert [len(calls) for calls in poolers] == [1, 1] and len(last) == 1
        masks = [x.pred_masks for x in found]
        again = heads.forward_with_given_boxes(encoded.features, found)  # which pools the boxes itself
    assert len(last) == 2 and all(torch.equal(x.pred_masks, y) for x, y in zip(again, masks))


def test_prompts_reach_every_stage_and_the_masks():
    model = wake_prompts(build(make_tiny_config(SCNET, ALL)))
    for loss in ("loss_cls_stage0", "loss_cls_stage1", "loss_cls_stage2", "loss_mask"):
        model.zero_grad()
        losses_of(model, make_inputs(objects=6))[loss].backward()
        branches = [model.roi_heads.box_pooler] + [model.roi_heads.mask_pooler] * (loss == "loss_mask")
        assert all(projection.weight.grad.any() for branch in branches for projection in branch.fusion), loss
        assert all(p.grad.any() for p in model.prompt_encoder.parameters()), loss


@WITH_AND_WITHOUT
def test_every_parameter_learns_even_without_objects(options):
    model = wake_prompts(build(make_tiny_config(SCNET, ALL, **options)))
    for name, parameter in model.roi_heads.named_parameters():
        if "conv2.weight" in name:  # of blocks, which start as x
            torch.nn.init.normal_(parameter, std=0.05)
    for objects in (3, 0):
        model.zero_grad(set_to_none=True)
        losses = losses_of(model, make_inputs(objects=objects))
        assert all(torch.isfinite(v) for v in losses.values())
        sum(losses.values()).backward()
        assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
        if objects:
            silent = [n for n, p in model.roi_heads.named_parameters() if not p.grad.any()]
            assert silent == []


@WITH_AND_WITHOUT
def test_losses_fall_in_a_few_steps(options):
    model = build(make_tiny_config(SCNET, ALL, **options))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    inputs = make_inputs()
    steps = []
    for step in range(12):
        losses = losses_of(model, inputs, seed=step % 3)
        steps.append({name: float(loss.detach()) for name, loss in losses.items()})
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    first, last = (sum(sum(step.values()) for step in part) / 3 for part in (steps[:3], steps[-3:]))
    assert last < 0.8 * first
    for name in ("loss_context", *(["loss_semantic"] if options else [])):
        assert steps[-1][name] < steps[0][name], name


def test_images_are_seen_whole_once_however_many_boxes_are_asked():
    model = build(make_tiny_config(SCNET, **SEMANTIC)).eval()
    calls = seen_by(model.roi_heads.context_head), seen_by(model.roi_heads.semantic_head)
    inputs = make_inputs()
    with torch.no_grad():
        encoded = model.encode(inputs)
    for _ in range(2):
        model.segment_boxes(encoded, [x["instances"].gt_boxes.tensor for x in inputs])
    assert [len(c) for c in calls] == [1, 1]


@WITH_AND_WITHOUT
def test_it_runs_in_detectron2s_own_model(options):
    cfg = make_tiny_config(SCNET, **options)
    ours = build(cfg)
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    theirs = build(cfg)
    assert type(theirs) is GeneralizedRCNN
    inputs = make_inputs()
    a, b = losses_of(ours, inputs), losses_of(theirs, inputs)
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    with torch.no_grad():
        for x, y in zip(ours.eval()(inputs), theirs.eval()(inputs)):
            assert torch.equal(x["instances"].scores, y["instances"].scores)
            assert x["instances"].pred_masks.shape[1:] == (96, 128)
            assert torch.equal(x["instances"].pred_masks, y["instances"].pred_masks)


def test_given_labels_come_before_the_masks():
    model = build(make_tiny_config(SCNET, **SEMANTIC))
    inputs = make_inputs()
    derived = losses_of(model, inputs)["loss_semantic"]
    for x in inputs:
        labels = torch.full((96, 128), 3, dtype=torch.uint8)
        for i in x["instances"].gt_boxes.area().argsort(descending=True):
            labels[x["instances"].gt_masks.tensor[i]] = int(x["instances"].gt_classes[i])
        x["sem_seg"] = labels
    torch.testing.assert_close(losses_of(model, inputs)["loss_semantic"], derived)
    del inputs[0]["sem_seg"]  # a dataset may have labels for some of its images
    torch.testing.assert_close(losses_of(model, inputs)["loss_semantic"], derived)
    inputs[1]["sem_seg"][:] = 0
    assert not torch.isclose(losses_of(model, inputs)["loss_semantic"], derived)


def test_labels_of_files_may_have_classes_of_their_own():
    model = build(make_tiny_config(SCNET, **SEMANTIC, MODEL__SCNET__SEMANTIC__NUM_CLASSES=7))
    assert model.roi_heads.semantic_head.predictor.out_channels == 7
    assert build(make_tiny_config(SCNET, **SEMANTIC)).roi_heads.semantic_head.predictor.out_channels == 4


@pytest.mark.parametrize("count", [2, 7])
def test_where_labels_are_of_files_an_image_without_one_teaches_none(count):
    model = build(make_tiny_config(SCNET, **SEMANTIC, MODEL__SCNET__SEMANTIC__NUM_CLASSES=count))
    inputs = make_inputs()
    losses = losses_of(model, inputs)
    assert losses["loss_semantic"] == 0 and losses["loss_semantic"].requires_grad
    inputs[0]["sem_seg"] = torch.ones(96, 128, dtype=torch.uint8)
    one = losses_of(model, inputs)["loss_semantic"]
    assert one > 0 and losses_of(model, [inputs[0], {**inputs[1], "sem_seg": torch.full((96, 128), 255)}])[
        "loss_semantic"
    ].isclose(one)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"MODEL__MASK_ON": False}, "set MODEL.MASK_ON to True"),
        ({"MODEL__ROI_MASK_HEAD__NUM_CONV": 3}, "NUM_CONV: SCNetMaskHead expects an even number, got 3"),
        ({"MODEL__SCNET__IN_FEATURES": ["p2", "p9"]}, r"levels of the backbone \(p2, p3, p4, p5, p6\)"),
        ({"MODEL__SCNET__SEMANTIC__LEVEL": "p3", "MODEL__SCNET__IN_FEATURES": ["p2", "p6"]}, "the latter one of them"),
        ({"MODEL__ROI_MASK_HEAD__POOLER_TYPE": ""}, "SCNetROIHeads needs a mask pooler"),
    ],
)
def test_a_config_that_cannot_be_built_is_named(options, said):
    with pytest.raises(ValueError, match=said):
        build(make_tiny_config(SCNET, **options))
