"""Every config key that insight adds to Detectron2's, with its default and its meaning; reading config files."""

import contextlib
import functools
import importlib
import logging
import operator
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg
from detectron2.modeling import META_ARCH_REGISTRY, PROPOSAL_GENERATOR_REGISTRY, ROI_HEADS_REGISTRY

from .runtime.machine import is_device_name


def add_insight_config(cfg: CN) -> None:
    """Add insight's keys to a Detectron2 config, in place; with the defaults every part is off.

    Insight's models and datasets are registered with Detectron2 too, so that the config can name them.

    Args:
        cfg: a config from `detectron2.config.get_cfg()`.
    """
    for registering in ("insight.modeling.registration", "insight.data.datasets"):  # here: both import this module
        importlib.import_module(registering)
    # --- The prompt paradigm (Insight Any Instance). MODEL.META_ARCHITECTURE must be "PromptRCNN" --------------
    prompt = cfg.MODEL.PROMPT = CN()
    prompt.BRANCHES = ["box", "mask"]  # RoI branches whose features are joined with prompts
    prompt.CROP_SIZE = 28  # S_ps: side of the crop of the full-resolution image around each box, pixels
    # Spread of the pixel values, in INPUT.FORMAT order, by which prompts divide after MODEL.PIXEL_MEAN is taken off.
    # Apart from MODEL.PIXEL_STD, which is 1 for the Caffe weights of Detectron2's ResNets.
    prompt.PIXEL_STD = [57.375, 57.12, 58.395]
    # Learning rate of the projections of prompts to RoI features, which start at zero, as a multiple of SOLVER.BASE_LR
    prompt.PROJECTION_LR_FACTOR = 1.0

    prompt.LPM = CN()
    prompt.LPM.ENABLED = False  # local prompt module
    prompt.LPM.DIM = 64  # channels of a token of each of its two paths, spatial and frequency
    prompt.LPM.PATCH_SIZE = 8  # side of an overlapping patch of the crop, pixels; STRIDE plus an even number
    prompt.LPM.STRIDE = 4  # step between patches, pixels

    prompt.GPM = CN()
    prompt.GPM.ENABLED = False  # global-to-local prompt module
    prompt.GPM.DIM = 256  # channels of a token
    prompt.GPM.NUM_HEADS = 8  # attention heads
    prompt.GPM.DEPTH = 2  # loops of self-attention on both sides followed by global-to-local attention
    prompt.GPM.GLOBAL_PATCH = 32  # side of a patch of the whole image, network-input pixels
    prompt.GPM.LOCAL_PATCH = 14  # side of a patch of the crop, pixels

    prompt.SAMPLING = CN()
    prompt.SAMPLING.ENABLED = False  # in training, mix jittered ground-truth boxes into the proposals;
    # MODEL.PROPOSAL_GENERATOR.NAME must be "PromptRPN" and MODEL.ROI_HEADS.PROPOSAL_APPEND_GT False
    prompt.SAMPLING.FRACTION = 1.0  # probability that a ground-truth box is drawn as a prompt
    prompt.SAMPLING.JITTER = 0.1  # largest shift of each box edge, as a fraction of the box's side

    # --- Proposal area loss. MODEL.PROPOSAL_GENERATOR.NAME must be "PromptRPN" ----------------------------------
    area = cfg.MODEL.RPN.AREA_LOSS = CN()
    area.ENABLED = False
    area.WEIGHT = 1.0
    area.MODE = "matched"  # "matched": positive anchors; "literal": Algorithm 1 on the top proposals
    area.IOU_THRESHOLD = 0.5  # "matched" only: least IoU with the ground truth; bounds each term by (1/t - 1)^2

    # --- Cascades. MODEL.ROI_HEADS.NAME must be "CascadeMaskROIHeads" or "SCNetROIHeads" ------------------------
    cfg.MODEL.ROI_BOX_CASCADE_HEAD.LOSS_WEIGHTS = [1.0, 0.5, 0.25]  # of the losses of each stage, boxes and masks

    # --- SCNet. MODEL.ROI_HEADS.NAME must be "SCNetROIHeads" ----------------------------------------------------
    scnet = cfg.MODEL.SCNET = CN()
    scnet.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]  # levels of its semantic head; the last is its context head's
    scnet.CONTEXT_WEIGHT = 3.0  # weight of the loss of the context head, which tells the classes that an image shows
    scnet.SEMANTIC = CN()
    scnet.SEMANTIC.ENABLED = False  # semantic head; learns "sem_seg_file_name" of an image
    scnet.SEMANTIC.LEVEL = "p3"  # the level at which it brings all levels together and predicts
    # Of the labels of these files; 0: they are the instances' classes and background (MODEL.ROI_HEADS.NUM_CLASSES), and
    # an image without a file has those of its masks
    scnet.SEMANTIC.NUM_CLASSES = 0
    scnet.SEMANTIC.WEIGHT = 0.2  # weight of its loss

    # --- SOPSeg. MODEL.META_ARCHITECTURE must be "SOPSEG" --------------------------------------------------------
    sopseg = cfg.MODEL.SOPSEG = CN()
    sopseg.ENCODER = "vit_l"  # "vit_t", "vit_b", "vit_l" or "vit_h"
    sopseg.DECODER = "edge"  # "sam", "hq", "matting" or "edge" (SOPSeg's own)
    sopseg.WEIGHTS = ""  # SAM checkpoint that training starts from; MODEL.WEIGHTS is one of the whole model
    sopseg.INPUT_SIZE = 256  # side of a crop, pixels; a multiple of 64 up to 1024
    sopseg.MAGNIFY = True  # a crop for each object (region-adaptive magnification); False: one, the whole image
    # Objects that lie close together share a crop, at this fraction of their own magnification or more; 0: never. In
    # training, every other object is seen as if it shared one.
    sopseg.SHARED_CROPS = 0.0
    # Prompts made of true annotations: "box", "min_area_rect" (around the mask) or "oriented_box" (the data set's)
    sopseg.PROMPT = "min_area_rect"
    sopseg.BOX_SHARE = 0.0  # in training, of the samples: prompted with horizontal boxes instead of PROMPT
    sopseg.JITTER = 0.0  # in training, largest shift of each side of a prompt, as a fraction of the box's extent
    sopseg.MAX_PROMPTS = 8  # prompts drawn of a training image where MAGNIFY is False
    sopseg.IOU_WEIGHT = 5.0  # weight of the loss of the predicted IoU
    sopseg.TRAINED_STAGES = 0  # last stages (of a ViT, blocks) of the image encoder that are trained too
    sopseg.SCRATCH_LR_FACTOR = 20.0  # learning rate of what has no weights in SAM, as a multiple of SOLVER.BASE_LR

    # --- SOPSeg as the mask branch of a detector. MODEL.META_ARCHITECTURE must be "PromptRCNN" -------------------
    branch = cfg.MODEL.SOPSEG_BRANCH = CN()
    branch.ENABLED = False  # in evaluation and prediction (training does not see it), masks are SOPSeg's
    branch.WEIGHTS = ""  # checkpoint of SOPSeg or SAM; MODEL.WEIGHTS is the detector's
    branch.INPUT_SIZE = 256  # side of a crop, pixels; a multiple of 64 up to 1024
    branch.SHARED_CROPS = 0.0  # as MODEL.SOPSEG's
    branch.CLASSES = []  # indices of the classes that get their masks there, the others from the detector; []: all

    # --- Backbones of timm. MODEL.BACKBONE.NAME must be "build_timm_fpn_backbone" -------------------------------
    timm = cfg.MODEL.TIMM = CN()
    timm.NAME = "tf_efficientnet_lite0"  # a timm model that supports features_only
    timm.WEIGHTS = ""  # "": random; a file; "timm": from its hub; "package:NAME": held by an installed package
    timm.FREEZE_AT = 0  # feature stages to freeze, counted from the stem
    timm.FROZEN_NORM = True  # keep BatchNorm statistics and affine parameters fixed

    # --- Training -----------------------------------------------------------------------------------------------
    cfg.SOLVER.OPTIMIZER = "SGD"  # "SGD" or "AdamW"; WEIGHT_DECAY is AdamW's decoupled one then

    # --- Data and evaluation ------------------------------------------------------------------------------------
    # COCO files to register: [["name", "annotations.json", "image folder"], ...]; a fourth element, a list of class
    # names, says which classes count and in which order
    cfg.DATASETS.COCO = []
    cfg.DATASETS.BAD = "strict"  # images and annotations that are wrong: "strict" stops, "skip" leaves them out
    cfg.INPUT.ROTATE_90 = False  # in training, rotate by a random multiple of 90 degrees (overhead images have no up)
    cfg.TEST.MAX_DETS = [1, 10, 100]  # detections an image that AP counts, in COCO's three steps
    cfg.TEST.PROMPT_JITTER = 0.0  # SOPSEG only: largest shift of each side of a prompt, as a fraction of its extent
    cfg.TEST.AREA_PROFILE = "coco"  # "coco": small < 32^2 < medium < 96^2; "isaid": small < 144^2 < medium < 512^2
    cfg.TEST.BOUNDARY_AP = False  # also Boundary AP of the masks
    cfg.TEST.BOUNDARY_RATIO = 0.02  # of the width of its boundaries to the diagonal of the image


def semantic_classes(cfg: CN) -> int:
    """How many labels the semantic branch of a model tells apart.

    Args:
        cfg: a config with insight's keys.

    Returns:
        The number of labels, background included; 0 where the branch is off.
    """
    semantic = cfg.MODEL.SCNET.SEMANTIC
    return (semantic.NUM_CLASSES or cfg.MODEL.ROI_HEADS.NUM_CLASSES + 1) if semantic.ENABLED else 0


def gives_masks(cfg: CN) -> bool:
    """Whether a detector's answers have masks, of its own or of its SOPSeg branch.

    Args:
        cfg: a config with insight's keys.
    """
    return cfg.MODEL.MASK_ON or cfg.MODEL.SOPSEG_BRANCH.ENABLED


_PROMPT_RCNN = ("MODEL.META_ARCHITECTURE", META_ARCH_REGISTRY, "PromptRCNN")
_PROMPT_RPN = ("MODEL.PROPOSAL_GENERATOR.NAME", PROPOSAL_GENERATOR_REGISTRY, "PromptRPN")
_SCNET = ("MODEL.ROI_HEADS.NAME", ROI_HEADS_REGISTRY, "SCNetROIHeads")
# Which class reads a switch; any but it and its subclasses would ignore it.
_READERS = {
    "MODEL.PROMPT.LPM.ENABLED": _PROMPT_RCNN,
    "MODEL.PROMPT.GPM.ENABLED": _PROMPT_RCNN,
    "MODEL.SOPSEG_BRANCH.ENABLED": _PROMPT_RCNN,
    "MODEL.PROMPT.SAMPLING.ENABLED": _PROMPT_RPN,
    "MODEL.RPN.AREA_LOSS.ENABLED": _PROMPT_RPN,
    "MODEL.SCNET.SEMANTIC.ENABLED": _SCNET,
}


_JITTER = ("a number from 0 to below 0.5, at which a box could turn over", lambda value: 0 <= value < 0.5)
_COUNT = ("at least 1", lambda value: value >= 1)
_VALUES = {
    "MODEL.PROMPT.CROP_SIZE": _COUNT,
    "MODEL.PROMPT.LPM.DIM": _COUNT,
    "MODEL.PROMPT.LPM.PATCH_SIZE": _COUNT,
    "MODEL.PROMPT.LPM.STRIDE": _COUNT,
    "MODEL.PROMPT.GPM.DIM": _COUNT,
    "MODEL.PROMPT.GPM.NUM_HEADS": _COUNT,
    "MODEL.PROMPT.GPM.DEPTH": _COUNT,
    "MODEL.PROMPT.GPM.GLOBAL_PATCH": _COUNT,
    "MODEL.PROMPT.GPM.LOCAL_PATCH": _COUNT,
    "MODEL.PROMPT.PROJECTION_LR_FACTOR": ("at least 0", lambda value: value >= 0),
    "MODEL.SOPSEG.JITTER": _JITTER,
    "TEST.PROMPT_JITTER": _JITTER,
    "TEST.DETECTIONS_PER_IMAGE": _COUNT,
    "SOLVER.CHECKPOINT_PERIOD": _COUNT,
    "SEED": ("below 2^32, as NumPy's generator takes it; below 0 for any", lambda value: value < 2**32),
}


class ConfigError(ValueError):
    """A config file, key or value that cannot be used."""


def load_config(config_file: str = "", overrides: Sequence[str] = ()) -> CN:
    """Read a config: Detectron2's defaults, insight's, the file and its _BASE_, then the overrides.

    Where Detectron2's project point_rend is installed, the config has its keys too.
    A MODEL.DEVICE of "cuda" becomes "cpu", with a warning, where there is no GPU.

    Args:
        config_file: YAML file; empty for the defaults alone.
        overrides: KEY VALUE KEY VALUE ...

    Returns:
        The frozen config.

    Raises:
        ConfigError: a missing file, wrong YAML, an unknown key, a value of another type than the key's or out of
            its range, or a part that is on for a model that would ignore it.
    """
    if isinstance(config_file, list):  # of one, or empty
        config_file = next(iter(config_file), "")
    cfg = get_cfg()
    add_insight_config(cfg)
    with contextlib.suppress(ModuleNotFoundError):  # a project of Detectron2's, which an installation may lack
        from detectron2.projects.point_rend import add_pointrend_config

        add_pointrend_config(cfg)
    if config_file:
        if not Path(config_file).is_file():
            raise ConfigError(f"--config-file {config_file}: no such file")
        try:
            cfg.merge_from_file(config_file)
        except (yaml.YAMLError, KeyError, ValueError, AssertionError, OSError) as error:
            raise ConfigError(f"{config_file}: {_reason(error)}") from error
        except (AttributeError, TypeError) as error:  # what yacs makes of a value where it expects a section
            raise ConfigError(f"{config_file}: expected sections of KEY: VALUE, as in configs/ ({error})") from error
    if len(overrides) % 2:
        raise ConfigError(f"KEY VALUE overrides: expected pairs, {overrides[-1]} has no value")
    try:
        cfg.merge_from_list(list(overrides))
    except (KeyError, ValueError, AssertionError, AttributeError, TypeError) as error:
        raise ConfigError(f"KEY VALUE overrides: {_reason(error)}") from error
    if not is_device_name(cfg.MODEL.DEVICE):
        raise ConfigError(f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}: expected cpu, cuda or cuda:N")
    device = torch.device(cfg.MODEL.DEVICE)
    if device.type == "cuda" and not torch.cuda.is_available():
        logging.getLogger(__name__).warning("MODEL.DEVICE is cuda but there is no GPU: using the CPU")
        cfg.MODEL.DEVICE = "cpu"
    elif device.index is not None and device.index >= torch.cuda.device_count():
        raise ConfigError(f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}: there is no such GPU; see python -m insight.info")
    _require_readers(cfg)
    _require_values(cfg)
    cfg.freeze()
    return cfg


def _require_readers(cfg: CN) -> None:
    for switch, (key, registry, reader) in _READERS.items():
        name = _value(cfg, key)
        reads = name in registry and issubclass(registry.get(name), registry.get(reader))
        if _value(cfg, switch) and not reads:
            raise ConfigError(
                f"{switch} is True, but {key} is {name!r}, which would ignore it: set {key} to {reader}, or {switch} "
                "to False"
            )


def _require_values(cfg: CN) -> None:
    """What would be noticed only after hours, or never."""
    for key, (expected, holds) in _VALUES.items():
        if not holds(_value(cfg, key)):
            raise ConfigError(f"{key}: expected {expected}, got {_value(cfg, key)}")


def _value(cfg: CN, key: str) -> Any:
    return functools.reduce(operator.getitem, key.split("."), cfg)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"expected YAML, which is text ({error})"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"  # a _BASE_ that is missing
    said = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    whole = re.search(r"\(<class 'float'> vs. <class 'int'>\) with values \(.* vs. (-?\d+)\)", said)
    return f"{said}; write {whole[1]}.0" if whole else said
