"""Parameters without prompts against the public MMDetection configurations, counted layer by layer from their files.

Each function below counts the layers that the named file of MMDetection 3.3.0 defines (open-mmlab/mmdetection; read in
mmdet-3.3.0-py3-none-any.whl of PyPI, which has the configs too, in mmdet/.mim; sha256 2e23e291281ac57e7dccf8678e957da4
5fbe560ce78a1f5ded6afeccd3730f17), with the arguments of its configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py,
configs/cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py and configs/scnet/scnet_r50_fpn_1x_coco.py: 80 classes,
ResNet-50, FPN of 256 channels.
"""

import pytest
from helpers.tiny_prompt_rcnn import build, make_config

CLASSES = 80
CHANNELS = 256


def conv(inputs, outputs, side, bias=True):
    return inputs * outputs * side**2 + bias * outputs


def linear(inputs, outputs):
    return inputs * outputs + outputs


def resnet50():
    """mmdet/models/backbones/resnet.py, without a classifier; each norm has a weight and a bias a channel."""
    total = conv(3, 64, 7, bias=False) + 2 * 64
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            total += conv(inputs, width, 1, False) + conv(width, width, 3, False) + conv(width, 4 * width, 1, False)
            total += 2 * (width + width + 4 * width)
            if block == 0:
                total += conv(inputs, 4 * width, 1, False) + 2 * 4 * width
            inputs = 4 * width
    return total


def fpn():
    """mmdet/models/necks/fpn.py: lateral and output convolutions, no norm; the fifth level is a max pooling."""
    return sum(conv(inputs, CHANNELS, 1) + conv(CHANNELS, CHANNELS, 3) for inputs in (256, 512, 1024, 2048))


def rpn():
    """mmdet/models/dense_heads/rpn_head.py: 3 anchors a place, a sigmoid score and 4 offsets each."""
    return conv(CHANNELS, CHANNELS, 3) + conv(CHANNELS, 3, 1) + conv(CHANNELS, 3 * 4, 1)


def box_head(class_agnostic):
    """mmdet/models/roi_heads/bbox_heads/convfc_bbox_head.py, Shared2FCBBoxHead; SCNetBBoxHead has the same layers."""
    offsets = 4 if class_agnostic else 4 * CLASSES
    return linear(CHANNELS * 7 * 7, 1024) + linear(1024, 1024) + linear(1024, CLASSES + 1) + linear(1024, offsets)


def mask_head(convs):
    """mmdet/models/roi_heads/mask_heads/fcn_mask_head.py; scnet_mask_head.py pairs the convolutions into blocks."""
    return convs * conv(CHANNELS, CHANNELS, 3) + conv(CHANNELS, CHANNELS, 2) + conv(CHANNELS, CLASSES, 1)


def mask_rcnn():
    """configs/_base_/models/mask-rcnn_r50_fpn.py"""
    return resnet50() + fpn() + rpn() + box_head(class_agnostic=False) + mask_head(4)


def cascade_mask_rcnn():
    """configs/_base_/models/cascade-mask-rcnn_r50_fpn.py; cascade_roi_head.py builds the one mask_head three times."""
    return resnet50() + fpn() + rpn() + 3 * box_head(class_agnostic=True) + 3 * mask_head(4)


def scnet_semantic_head():
    """mmdet/models/roi_heads/mask_heads/{fused,scnet}_semantic_head.py: 5 levels, 4 convolutions, 183 classes."""
    return (
        5 * conv(CHANNELS, CHANNELS, 1)
        + 4 * conv(CHANNELS, CHANNELS, 3)
        + conv(CHANNELS, CHANNELS, 1)
        + conv(CHANNELS, COCO_STUFF, 1)
    )


def scnet_context_head():
    """mmdet/models/roi_heads/mask_heads/global_context_head.py: 4 convolutions, num_classes=80 (81 in versions 2)."""
    return 4 * conv(CHANNELS, CHANNELS, 3) + linear(CHANNELS, CLASSES)


def scnet_relay_head():
    """mmdet/models/roi_heads/mask_heads/feature_relay_head.py"""
    return linear(1024, CHANNELS * 7 * 7)


def scnet(semantic):
    """configs/scnet/scnet_r50_fpn_1x_coco.py; without its semantic_head where there are no such labels."""
    heads = 3 * box_head(class_agnostic=True) + mask_head(12) + scnet_context_head() + scnet_relay_head()
    return resnet50() + fpn() + rpn() + heads + semantic * scnet_semantic_head()


COCO_STUFF = 183
SEMANTIC = {"MODEL__SCNET__SEMANTIC__ENABLED": True, "MODEL__SCNET__SEMANTIC__NUM_CLASSES": COCO_STUFF}


def test_the_count_knows_resnet50():
    # torchvision's 25,557,032 are with a classifier of 1,000 classes.
    assert resnet50() + linear(2048, 1000) == 25_557_032


def test_the_count_is_that_of_mmdetections_models():
    # Of the three configs' models as mmdet 3.3.0 itself builds them: sum(p.numel() for p in model.parameters()).
    built = {"mask_rcnn": 44_396_336, "cascade_mask_rcnn": 77_324_606, "scnet": 94_799_269}
    assert {"mask_rcnn": mask_rcnn(), "cascade_mask_rcnn": cascade_mask_rcnn(), "scnet": scnet(semantic=True)} == built


@pytest.mark.parametrize(
    "name, options, published",
    [
        ("mask_rcnn", {}, mask_rcnn()),
        ("cascade_mask_rcnn", {}, cascade_mask_rcnn()),
        ("scnet", {}, scnet(semantic=False)),
        ("scnet", SEMANTIC, scnet(semantic=True)),
    ],
    ids=["mask_rcnn", "cascade_mask_rcnn", "scnet", "scnet_semantic"],
)
def test_parameters_are_those_of_the_public_models(name, options, published):
    cfg = make_config(f"insight/{name}_r50_fpn.yaml", MODEL__ROI_HEADS__NUM_CLASSES=CLASSES, **options)
    ours = sum(p.numel() for p in build(cfg).parameters())
    print(f"{name}: {ours / 1e6:.2f} M, published {published / 1e6:.2f} M")
    assert ours == pytest.approx(published, rel=0.002)
