"""Every config key that insight adds to Detectron2's, with its default and its meaning."""

from detectron2.config import CfgNode as CN


def add_insight_config(cfg: CN) -> None:
    """Add insight's keys to a Detectron2 config, in place; with the defaults every part is off.

    Args:
        cfg: a config from `detectron2.config.get_cfg()`.
    """
    # --- The prompt paradigm (Insight Any Instance). MODEL.META_ARCHITECTURE must be "PromptRCNN" --------------
    prompt = cfg.MODEL.PROMPT = CN()
    prompt.BRANCHES = ["box", "mask"]  # RoI branches whose features are joined with prompts
    prompt.CROP_SIZE = 28  # S_ps: side of the crop of the full-resolution image around each box, pixels
    # Spread of the pixel values, in INPUT.FORMAT order, by which prompts divide after MODEL.PIXEL_MEAN is taken off.
    # Apart from MODEL.PIXEL_STD, which is 1 for the Caffe weights of Detectron2's ResNets.
    prompt.PIXEL_STD = [57.375, 57.12, 58.395]

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
    prompt.SAMPLING.FRACTION = 0.5  # probability that a ground-truth box is drawn as a prompt
    prompt.SAMPLING.JITTER = 0.1  # largest shift of each box edge, as a fraction of the box's side

    # --- Proposal area loss. MODEL.PROPOSAL_GENERATOR.NAME must be "PromptRPN" ----------------------------------
    area = cfg.MODEL.RPN.AREA_LOSS = CN()
    area.ENABLED = False
    area.WEIGHT = 1.0
    area.MODE = "matched"  # "matched": positive anchors; "literal": Algorithm 1 on the top proposals
    area.IOU_THRESHOLD = 0.5  # "matched" only: least IoU with the ground truth; bounds each term by (1/t - 1)^2

    # --- Backbones of timm. MODEL.BACKBONE.NAME must be "build_timm_fpn_backbone" -------------------------------
    timm = cfg.MODEL.TIMM = CN()
    timm.NAME = "tf_efficientnet_lite0"  # a timm model that supports features_only
    timm.WEIGHTS = ""  # "": random; a file; "timm": from its hub; "package:NAME": held by an installed package
    timm.FREEZE_AT = 0  # feature stages to freeze, counted from the stem
    timm.FROZEN_NORM = True  # keep BatchNorm statistics and affine parameters fixed

    # --- Data and evaluation ------------------------------------------------------------------------------------
    cfg.DATASETS.COCO = []  # COCO files to register: [["name", "annotations.json", "image folder"], ...]
    cfg.INPUT.ROTATE_90 = False  # in training, rotate by a random multiple of 90 degrees (overhead images have no up)
    cfg.TEST.MAX_DETS = [1, 10, 100]  # detections an image that AP counts, in COCO's three steps
    cfg.TEST.AREA_PROFILE = "coco"  # "coco": small < 32^2 < medium < 96^2; "isaid": small < 144^2 < medium < 512^2
