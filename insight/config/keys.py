"""Config keys that insight adds to Detectron2's, with defaults and meaning."""

import contextlib
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def add_insight_config(cfg: "CfgNode") -> None:
    """Add insight's keys to a Detectron2 config, in place; by default every part is off.

    Insight's models and datasets are registered with Detectron2 too, so that the config can name them. Where
    Detectron2's project PointRend is installed, its keys are added, unless the config has them already.

    Args:
        cfg: a config from `detectron2.config.get_cfg()`.
    """
    for registering in ("insight.modeling.registration", "insight.data.datasets"):  # here: both import this module
        importlib.import_module(registering)
    add_insight_keys(cfg)
    if "POINT_HEAD" not in cfg.MODEL:
        add_point_rend_keys(cfg)


def add_insight_keys(cfg: "CfgNode") -> None:
    from detectron2.config import CfgNode as CN

    # --- Prompts (Insight Any Instance). MODEL.META_ARCHITECTURE must be "PromptRCNN" ---------------------------
    prompt = cfg.MODEL.PROMPT = CN()
    prompt.BRANCHES = ["box", "mask"]  # RoI branches whose features are joined with prompts
    prompt.CROP_SIZE = 28  # S_ps: side of the crop around each box, cut from the full-resolution image, pixels
    # Standard deviation of each channel, in INPUT.FORMAT order, by which the pixels of prompts are divided once
    # MODEL.PIXEL_MEAN is subtracted. Not MODEL.PIXEL_STD, which is 1 for the Caffe weights of Detectron2's ResNets
    prompt.PIXEL_STD = [57.375, 57.12, 58.395]
    # Learning rate of the projections from prompts to RoI features, which start small, as a multiple of BASE_LR
    prompt.PROJECTION_LR_FACTOR = 1.0

    prompt.LPM = CN()
    prompt.LPM.ENABLED = False  # local prompt module
    prompt.LPM.DIM = 64  # channels of a token, in each of its two paths (spatial and frequency)
    prompt.LPM.PATCH_SIZE = 8  # side of an overlapping patch of the crop, pixels: STRIDE plus an even number
    prompt.LPM.STRIDE = 4  # step between patches, pixels

    prompt.GPM = CN()
    prompt.GPM.ENABLED = False  # global-to-local prompt module
    prompt.GPM.DIM = 256  # channels of a token, a multiple of 4 NUM_HEADS
    prompt.GPM.NUM_HEADS = 8  # attention heads
    prompt.GPM.DEPTH = 2  # rounds of self-attention on both sides followed by global-to-local attention
    prompt.GPM.GLOBAL_PATCH = 32  # side of a patch of the whole image, pixels at its own resolution: a multiple of 4
    prompt.GPM.MAX_TOKENS = 625  # most patches of an image, 625 for 800 x 800 pixels; larger images are shrunk
    # Feature map of the backbone, such as "p5", that is added to the patches of the whole image; "": none, as the paper
    prompt.GPM.BACKBONE_FEATURE = ""
    prompt.GPM.LOCAL_PATCH = 14  # side of a patch of the crop, pixels

    prompt.CONSTANT = CN()
    prompt.CONSTANT.ENABLED = False  # a learnt constant as the prompt of every box: a control that reads no image
    prompt.CONSTANT.DIM = 64  # channels of a token
    prompt.CONSTANT.GRID = 7  # tokens along each side of a box

    # --- Box prompts in training. MODEL.PROPOSAL_GENERATOR.NAME must be "PromptRPN" -----------------------------
    prompt.SAMPLING = CN()
    prompt.SAMPLING.ENABLED = False  # add jittered ground-truth boxes to the proposals; needs
    # MODEL.ROI_HEADS.PROPOSAL_APPEND_GT False
    prompt.SAMPLING.FRACTION = 1.0  # probability that a ground-truth box is drawn as a prompt
    prompt.SAMPLING.JITTER = 0.1  # largest shift of each box edge, as a fraction of the box's side

    # --- Proposal area loss. MODEL.PROPOSAL_GENERATOR.NAME must be "PromptRPN" ----------------------------------
    area = cfg.MODEL.RPN.AREA_LOSS = CN()
    area.ENABLED = False  # add loss_rpn_area
    area.WEIGHT = 1.0  # weight of the loss
    area.MODE = "matched"  # "matched": on positive anchors; "literal": Algorithm 1 on the top proposals
    area.IOU_THRESHOLD = 0.5  # "matched" only: minimum IoU t with the ground truth; bounds each term by (1/t - 1)^2
    # "matched" only: for small objects t falls to the IoU of a box that is this much too large on each side, pixels of
    # the network's input, but not below 0.2; 0: one threshold for all sizes
    area.TOLERANCE = 4.0

    # --- Cascades. MODEL.ROI_HEADS.NAME must be "CascadeMaskROIHeads" or "SCNetROIHeads" ------------------------
    cfg.MODEL.ROI_BOX_CASCADE_HEAD.LOSS_WEIGHTS = [1.0, 0.5, 0.25]  # weight of each stage's box and mask losses

    # --- SCNet. MODEL.ROI_HEADS.NAME must be "SCNetROIHeads" ----------------------------------------------------
    scnet = cfg.MODEL.SCNET = CN()
    scnet.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]  # levels of the semantic head; the last feeds the context head
    scnet.CONTEXT_WEIGHT = 3.0  # weight of the context head's loss: which classes an image shows
    scnet.SEMANTIC = CN()
    scnet.SEMANTIC.ENABLED = False  # semantic head, trained on the label maps "sem_seg_file_name"
    scnet.SEMANTIC.LEVEL = "p3"  # level at which it fuses all levels and predicts
    # Number of labels in the label maps. 0: the labels are the instance classes and, last, background
    # (MODEL.ROI_HEADS.NUM_CLASSES + 1), and an image without a label map gets one from its masks.
    scnet.SEMANTIC.NUM_CLASSES = 0
    scnet.SEMANTIC.WEIGHT = 0.2  # weight of the semantic loss

    # --- SOPSeg. MODEL.META_ARCHITECTURE must be "SOPSegMetaArch" ------------------------------------------------
    sopseg = cfg.MODEL.SOPSEG = CN()
    sopseg.ENCODER = "vit_l"  # image encoder: "vit_t", "vit_b", "vit_l" or "vit_h"
    sopseg.DECODER = "edge"  # mask decoder: "sam", "hq", "matting", "edge" (SOPSeg's own) or "fine" (ours)
    sopseg.WEIGHTS = ""  # SAM checkpoint that training starts from; MODEL.WEIGHTS is a checkpoint of the whole model
    sopseg.INPUT_SIZE = 256  # side of a crop, pixels: a multiple of 64 up to 1024
    sopseg.MAGNIFY = True  # one crop per object (region-adaptive magnification); False: one crop, the whole image
    # Nearby objects share a crop if each keeps at least this fraction of its own magnification; 0: never. In training,
    # every other object is cropped as if it shared a crop.
    sopseg.SHARED_CROPS = 0.0
    # Prompts made from annotations: "box", "min_area_rect" (around the mask) or "oriented_box" (the dataset's)
    sopseg.PROMPT = "min_area_rect"
    sopseg.PROMPT_FORM = "points"  # embedding of oriented boxes: "points" along their axis and the box around them
    # (SOPSeg), or "tokens": two corners of the box rotated to be horizontal, and its angle's sine and cosine (OBSeg)
    sopseg.BOX_SHARE = 0.0  # in training, fraction of samples prompted with horizontal boxes instead of PROMPT
    # In training, fraction of objects that are cut by the border of the image, as in tiles of large images.
    sopseg.CUT_SHARE = 0.0
    # In training, largest error of the ground truth's outlines, pixels: masks are widened by up to this much, and moved
    # by up to half as much.
    sopseg.OUTLINE_ERROR = 0.0
    sopseg.BLUR = 0.0  # in training, largest standard deviation of a blur of the image, pixels
    # In training, largest shift of each side of a prompt, as a fraction of the box's extent; each sample draws its own
    # largest shift up to this one.
    sopseg.JITTER = 0.0
    sopseg.MAX_PROMPTS = 8  # prompts per training image where MAGNIFY is False
    sopseg.IOU_WEIGHT = 5.0  # weight of the loss of the predicted IoU
    sopseg.TRAINED_STAGES = 0  # last stages (blocks of a ViT) of the image encoder that are trained too
    sopseg.SCRATCH_LR_FACTOR = 20.0  # learning rate of layers that SAM has no weights for, as a multiple of BASE_LR

    # --- SOPSeg as the mask branch of a detector. MODEL.META_ARCHITECTURE must be "PromptRCNN" ------------------
    branch = cfg.MODEL.SOPSEG_BRANCH = CN()
    branch.ENABLED = False  # SOPSeg predicts the masks in evaluation and prediction; training does not use it
    branch.WEIGHTS = ""  # checkpoint of SOPSeg or SAM; MODEL.WEIGHTS is the detector's
    branch.INPUT_SIZE = 256  # side of a crop, pixels: a multiple of 64 up to 1024
    branch.SHARED_CROPS = 0.0  # as MODEL.SOPSEG.SHARED_CROPS
    branch.CLASSES = []  # indices of the classes whose masks SOPSeg predicts; []: all

    # --- timm backbones. MODEL.BACKBONE.NAME must be "build_timm_fpn_backbone" ----------------------------------
    timm = cfg.MODEL.TIMM = CN()
    timm.NAME = "tf_efficientnet_lite0"  # a timm model that supports features_only
    timm.WEIGHTS = ""  # "": random; a file; "timm": from timm's hub; "package:NAME": from an installed package
    timm.FREEZE_AT = 0  # number of feature stages to freeze, counted from the stem
    timm.FROZEN_NORM = True  # freeze the statistics and affine parameters of BatchNorm

    # --- Training -----------------------------------------------------------------------------------------------
    # Latest checkpoints that are kept, besides model_best.pth and model_final.pth; 0: all
    cfg.SOLVER.CHECKPOINTS_TO_KEEP = 3
    cfg.SOLVER.OPTIMIZER = "SGD"  # "SGD" or "AdamW" (WEIGHT_DECAY is decoupled)

    # --- Data and evaluation ------------------------------------------------------------------------------------
    # COCO files to register: [["name", "annotations.json", "image folder"], ...]; an optional fourth element, a list of
    # class names, selects and orders the classes
    cfg.DATASETS.COCO = []
    cfg.DATASETS.BAD = "strict"  # bad images and annotations: "strict" stops, "skip" leaves them out with a warning
    cfg.INPUT.ROTATE_90 = False  # in training, rotate by a random multiple of 90 degrees
    # Limits of detections per image and class; AP is at the last, AP@100 at an earlier one of at least 100
    cfg.TEST.MAX_DETS = [1, 10, 100]
    # Images of each test set on which a detector is measured once an epoch during training, which chooses
    # model_best.pth; 0: never. With TEST.EVAL_PERIOD, the whole test sets are evaluated every that many iterations
    cfg.TEST.VALIDATION_IMAGES = 100
    cfg.TEST.PROMPT_JITTER = 0.0  # SOPSeg only: largest shift of each side of a prompt, as a fraction of its extent
    cfg.TEST.AREA_PROFILE = "coco"  # "coco": small < 32^2 < medium < 96^2; "isaid": small < 144^2 < medium < 512^2
    cfg.TEST.BOUNDARY_AP = False  # also Boundary AP of the masks
    cfg.TEST.BOUNDARY_RATIO = 0.02  # width of a boundary, as a fraction of the image's diagonal


def add_point_rend_keys(cfg: "CfgNode") -> None:
    with contextlib.suppress(ModuleNotFoundError):  # a project that an installation of Detectron2 may lack
        from detectron2.projects.point_rend import add_pointrend_config

        add_pointrend_config(cfg)


def is_sopseg(cfg: "CfgNode") -> bool:
    """Return whether the model of a config is SOPSeg rather than a detector.

    Args:
        cfg: a Detectron2 config.
    """
    return cfg.MODEL.META_ARCHITECTURE == "SOPSegMetaArch"


def semantic_classes(cfg: "CfgNode") -> int:
    """Return the number of labels of SCNet's semantic head.

    Args:
        cfg: a config with insight's keys.

    Returns:
        The number of labels, background included; 0 if the head is off.
    """
    semantic = cfg.MODEL.SCNET.SEMANTIC
    return (semantic.NUM_CLASSES or cfg.MODEL.ROI_HEADS.NUM_CLASSES + 1) if semantic.ENABLED else 0


def gives_masks(cfg: "CfgNode") -> bool:
    """Return whether a detector predicts masks, with its mask head or its SOPSeg branch.

    Args:
        cfg: a config with insight's keys.
    """
    return cfg.MODEL.MASK_ON or cfg.MODEL.SOPSEG_BRANCH.ENABLED
