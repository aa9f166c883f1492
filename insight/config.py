"""Config keys that insight adds to Detectron2's, with defaults and meaning; reading and writing of configs."""

import contextlib
import difflib
import functools
import importlib
import logging
import operator
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .errors import InputError
from .runtime.machine import is_device_name
from .runtime.yaml_files import read_yaml

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
    _add_insight_keys(cfg)
    if "POINT_HEAD" not in cfg.MODEL:
        _add_point_rend_keys(cfg)


def _add_insight_keys(cfg: "CfgNode") -> None:
    from detectron2.config import CfgNode as CN

    # --- Prompts (Insight Any Instance). MODEL.META_ARCHITECTURE must be "PromptRCNN" ---------------------------
    prompt = cfg.MODEL.PROMPT = CN()
    prompt.BRANCHES = ["box", "mask"]  # RoI branches whose features are joined with prompts
    prompt.CROP_SIZE = 28  # S_ps: side of the crop around each box, cut from the full-resolution image, pixels
    # Standard deviation of each channel, in INPUT.FORMAT order, by which the pixels of prompts are divided once
    # MODEL.PIXEL_MEAN is subtracted. MODEL.PIXEL_STD will not do: it is 1 for the Caffe weights of Detectron2's ResNets
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
    prompt.CONSTANT.ENABLED = False  # a learnt constant as the prompt of every box: a control, without any image
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
    # (SOPSeg), or "tokens": two corners of the box turned upright, and the sine and cosine of its angle (OBSeg)
    sopseg.BOX_SHARE = 0.0  # in training, fraction of samples prompted with horizontal boxes instead of PROMPT
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
    # model_best.pth; 0: never. With TEST.EVAL_PERIOD the whole test sets are, every so many iterations
    cfg.TEST.VALIDATION_IMAGES = 100
    cfg.TEST.PROMPT_JITTER = 0.0  # SOPSeg only: largest shift of each side of a prompt, as a fraction of its extent
    cfg.TEST.AREA_PROFILE = "coco"  # "coco": small < 32^2 < medium < 96^2; "isaid": small < 144^2 < medium < 512^2
    cfg.TEST.BOUNDARY_AP = False  # also Boundary AP of the masks
    cfg.TEST.BOUNDARY_RATIO = 0.02  # width of a boundary, as a fraction of the image's diagonal


def _add_point_rend_keys(cfg: "CfgNode") -> None:
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


class ConfigError(InputError):
    """A config file, key or value that cannot be used."""


def configs_folder() -> Path:
    """Return the folder of the shipped configs, inside the installed package or beside it in a checkout.

    Raises:
        ConfigError: the installation has no configs.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return folder
    raise ConfigError(f"{package / 'configs'}: no such folder; the shipped configs are missing: install insight again")


def shipped_configs() -> dict[str, Path]:
    """Return the shipped configs by name, without the tables."""
    files = sorted(configs_folder().rglob("*.yaml"))
    return {file.stem: file for file in files if file.parent.name != "tables"}


def shipped_tables() -> dict[str, Path]:
    """Return the descriptions of the papers' tables by name."""
    return {file.stem: file for file in sorted((configs_folder() / "tables").glob("*.yaml"))}


def find_config(name: str | os.PathLike, shipped: dict[str, Path] | None = None) -> Path:
    """Find a config by name or path.

    Args:
        name: the name of a shipped config, such as `nwpu_light`; or a path, which has a separator or a suffix.
        shipped: where names are looked up; default: `shipped_configs()`.

    Returns:
        The file. A path is returned unchanged, whether the file exists or not.

    Raises:
        ConfigError: no shipped config has this name.
    """
    text = os.fspath(name)
    path = Path(text).expanduser()
    if path.suffix or path.name != text:
        return path
    shipped = shipped_configs() if shipped is None else shipped
    if text not in shipped:
        near = difflib.get_close_matches(text, shipped)
        names = f"the nearest: {', '.join(near)}" if near else f"there are {', '.join(shipped)}"
        raise ConfigError(f"{text:.100}: no such shipped config; {names} (a path has a suffix, as in {text:.100}.yaml)")
    return shipped[text]


class ConfigPart(NamedTuple):
    """A part of a config that has been read already.

    Attributes:
        source: where it comes from, for errors.
        content: {section: {KEY: value}}, as in a config file.
    """

    source: Path
    content: dict[str, Any]


def load_config(
    config_files: str | os.PathLike | Sequence[str | os.PathLike] = (),
    overrides: Sequence[Any] = (),
    start: ConfigPart | None = None,
) -> "CfgNode":
    """Load a config: Detectron2's and insight's defaults, then the config files with their `_BASE_`, then overrides.

    Files are read as data; nothing in them is executed. A MODEL.DEVICE of "cuda" becomes "cpu", with a warning, where
    there is no GPU.

    Args:
        config_files: names of shipped configs or paths of YAML files, merged from left to right, such as
            `["nwpu_light", "lpm"]`; empty for the defaults.
        overrides: KEY, VALUE, KEY, VALUE, ...
        start: merged before the files, such as the config of a model folder; None for nothing.

    Returns:
        The frozen config.

    Raises:
        ConfigError: a file is missing, is not YAML or includes itself; two files contradict each other; a key is
            unknown; a value has the wrong type or is out of range; or a part is enabled for a model that would ignore
            it.
    """
    from detectron2.config import CfgNode, get_cfg

    cfg = get_cfg()
    add_insight_config(cfg)
    empty = {key for key, value in _leaves(cfg) if value is None}
    given = [config_files] if isinstance(config_files, (str, os.PathLike)) else config_files
    files = _read_files([os.fspath(name) for name in given if os.fspath(name)], Path(), ())
    for file, content in [*([start] if start else []), *files]:
        _require_keys(file, content, cfg)
        try:
            cfg.merge_from_other_cfg(CfgNode(content))
        except _MERGE_ERRORS as error:
            raise ConfigError(f"{file}: {_reason(error)}") from error
    known = [key for key, _ in _leaves(cfg)]
    if len(overrides) % 2:
        raise ConfigError(f"overrides: expected KEY VALUE pairs, {overrides[-1]} has no value")
    for key, value in zip(overrides[::2], overrides[1::2]):
        if str(key) not in known:
            raise ConfigError(f"overrides: {_unknown_key(str(key), cfg)}")
        try:
            cfg.merge_from_list([str(key), value])
        except _MERGE_ERRORS as error:
            raise ConfigError(f"overrides: {_reason(error)}") from error
    _require_plain_values(cfg, empty)
    _choose_device(cfg)
    _require_readers(cfg)
    _require_values(cfg)
    cfg.freeze()
    return cfg


def dump_config(cfg: "CfgNode") -> str:
    """Dump a config as YAML that can be merged after `add_insight_config`, even where PointRend is not installed.

    Args:
        cfg: the config.

    Returns:
        The YAML, with every key but those of Detectron2's project PointRend that are at their defaults.
    """
    short = cfg.clone()
    short.defrost()
    for key, default in _point_rend_defaults().items():
        *sections, name = key.split(".")
        section = functools.reduce(lambda node, part: node.get(part, {}), sections, short)
        if name in section and section[name] == default:
            del section[name]
    _drop_empty_sections(short)
    return short.dump()


def changed_keys(cfg: "CfgNode") -> dict[str, Any]:
    """Return the part of a config that differs from Detectron2's and insight's defaults.

    Args:
        cfg: a config with insight's keys.

    Returns:
        {section: {KEY: value}} with plain values, such as a config file holds; `load_config` with it as `start` gives
        an equal config.
    """
    from detectron2.config import get_cfg

    defaults = get_cfg()
    add_insight_config(defaults)
    before = {key: _as_lists(value) for key, value in _leaves(defaults)}
    changed: dict[str, Any] = {}
    for key, value in _leaves(cfg):
        value = _as_lists(value)
        if key not in before or before[key] != value:
            *sections, name = key.split(".")
            functools.reduce(lambda node, part: node.setdefault(part, {}), sections, changed)[name] = value
    return changed


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


@functools.cache
def _point_rend_defaults() -> dict[str, Any]:
    """The keys that PointRend adds, with their defaults."""
    from detectron2.config import get_cfg

    cfg = get_cfg()
    _add_insight_keys(cfg)
    own = {key for key, _ in _leaves(cfg)}
    _add_point_rend_keys(cfg)
    return {key: value for key, value in _leaves(cfg) if key not in own}


def _drop_empty_sections(node: "CfgNode") -> None:
    for key, value in list(node.items()):
        if isinstance(value, dict):
            _drop_empty_sections(value)
            if not value:
                del node[key]


# Keys that choose the parts of a model, and the default that another part may replace
_CHOICES = {
    "MODEL.META_ARCHITECTURE": None,
    "MODEL.BACKBONE.NAME": None,
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
}
_MAX_FILES, _MAX_DEPTH = 200, 30  # files that a config is made of, and in one line of inheritance


def _read_files(names: Sequence[str], folder: Path, chain: tuple[Path, ...]) -> list[ConfigPart]:
    """Read config files and all that they inherit, in the order in which they are merged."""
    read = []
    for name in names:
        read.append((name, _read_file(folder / find_config(name), chain)))
        if sum(len(layers) for _, layers in read) > _MAX_FILES:
            raise ConfigError(f"{name}: includes more than {_MAX_FILES} files through _BASE_")
    for number, (name, layers) in enumerate(read):
        for key, replaceable in _CHOICES.items():
            ours = _stated(layers, key)
            for other, earlier in read[:number]:
                theirs = _stated(earlier, key)
                if None not in (ours, theirs) and theirs not in (ours, replaceable):
                    raise ConfigError(
                        f"{other} and {name} contradict each other: {key} is {theirs!r} in {other} and {ours!r} in "
                        f"{name}; leave one out (a recipe comes before its parts)"
                    )
    return [layer for _, layers in read for layer in layers]


def _read_file(path: Path, chain: tuple[Path, ...]) -> list[ConfigPart]:
    if path.resolve() in chain:
        raise ConfigError(f"{path}: inherits from itself through _BASE_")
    if len(chain) > _MAX_DEPTH:
        raise ConfigError(f"{path}: more than {_MAX_DEPTH} levels of _BASE_")
    try:
        content = read_yaml(path)
    except InputError as error:
        shipped = not path.exists() and path.stem in shipped_configs()
        hint = f"; {path.stem} alone names a shipped config" if shipped else ""
        by = f"{chain[-1]}: _BASE_: " if chain else ""
        raise ConfigError(f"{by}{error}{hint}") from error
    if not _is_section(content):
        raise ConfigError(f"{path}: expected sections of KEY: VALUE, got {content!r:.80}")
    bases = content.pop("_BASE_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not (isinstance(bases, list) and all(isinstance(base, str) and base for base in bases)):
        raise ConfigError(f"{path}: _BASE_: expected a file or a list of files, got {bases!r:.80}")
    if content.get("VERSION", 2) != 2:
        raise ConfigError(f"{path}: VERSION: expected 2, got {content['VERSION']!r:.80}")
    return [*_read_files(bases, path.parent, (*chain, path.resolve())), ConfigPart(path, content)]


def _is_section(node: Any) -> bool:
    return isinstance(node, dict) and all(
        isinstance(key, str) and (not isinstance(value, dict) or _is_section(value)) for key, value in node.items()
    )


def _stated(layers: list[ConfigPart], key: str) -> Any:
    """The value that files give a key, None if they do not."""
    for _, content in reversed(layers):
        node: Any = content
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            return node
    return None


def _require_keys(file: Path, content: dict[str, Any], root: "CfgNode", prefix: str = "") -> None:
    """Raise if a file has an unknown key, a value in place of a section, or a section in place of a value."""
    cfg = _value(root, prefix[:-1]) if prefix else root
    for key, value in content.items():
        if key not in cfg:
            raise ConfigError(f"{file}: {_unknown_key(prefix + key, root)}")
        is_section = isinstance(cfg[key], dict)
        if is_section and isinstance(value, dict):
            _require_keys(file, value, root, f"{prefix}{key}.")
        elif is_section or isinstance(value, dict):
            expected = "a section of KEY: VALUE" if is_section else "a value"
            raise ConfigError(f"{file}: {prefix}{key}: expected {expected}, got {value!r:.80}")


# What yacs raises at an unknown key, a value of another type, or a literal that is nested too deeply
_MERGE_ERRORS = (KeyError, ValueError, AssertionError, AttributeError, TypeError, RecursionError, MemoryError)


_MISMATCH = re.compile(
    r"Type mismatch \(<class '(?:.*\.)?(\w+)'> vs\. <class '(?:.*\.)?(\w+)'>\) with values \(.* vs\. (.*)\) "
    r"for config key: (\S+)"
)


def _reason(error: Exception) -> str:
    """What yacs says, shorter."""
    if isinstance(error, (RecursionError, MemoryError)):
        return "a value is nested too deeply"
    said = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    if mismatch := _MISMATCH.fullmatch(said):
        wanted, given, value, key = mismatch.groups()
        hint = f"; write {value:.50}.0" if (wanted, given) == ("float", "int") else ""
        return f"{key}: expected a value of type {wanted}, got {value:.80} of type {given}{hint}"
    return said if len(said) <= 400 else f"{said[:200]} ... {said[-200:]}"


def _unknown_key(key: str, cfg: "CfgNode") -> str:
    near = difflib.get_close_matches(key, [name for name, _ in _leaves(cfg)], 1)
    return f"unknown config key {key:.100}" + (f"; the nearest is {near[0]}" if near else "")


def _choose_device(cfg: "CfgNode") -> None:
    if not is_device_name(cfg.MODEL.DEVICE):
        raise ConfigError(f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}: expected cpu, cuda or cuda:N")
    device = torch.device(cfg.MODEL.DEVICE)
    if device.type == "cuda" and not torch.cuda.is_available():
        logging.getLogger(__name__).warning("MODEL.DEVICE is cuda but there is no GPU: using the CPU")
        cfg.MODEL.DEVICE = "cpu"
    elif device.index is not None and device.index >= torch.cuda.device_count():
        raise ConfigError(f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}: there is no such GPU; `insight info` lists them")


def _require_plain_values(cfg: "CfgNode", empty: set[str]) -> None:
    """Raise if a value is null, unless its default is too, or a number that no tensor can hold."""
    for key, value in _leaves(cfg):
        if value is None and key not in empty:
            raise ConfigError(f"{key}: expected a value, got null")
        for number in _flat(value):
            if isinstance(number, int) and number.bit_length() > 63:
                raise ConfigError(f"{key}: expected integers of at most 64 bits, got one of {number.bit_length()} bits")


def _leaves(node: "CfgNode", prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    else:
        yield value


_PROMPT_RCNN = ("MODEL.META_ARCHITECTURE", "PromptRCNN")
_PROMPT_RPN = ("MODEL.PROPOSAL_GENERATOR.NAME", "PromptRPN")
# The class that reads each switch; a model that is neither it nor a subclass would ignore it.
_READERS = {
    "MODEL.PROMPT.LPM.ENABLED": _PROMPT_RCNN,
    "MODEL.PROMPT.GPM.ENABLED": _PROMPT_RCNN,
    "MODEL.PROMPT.CONSTANT.ENABLED": _PROMPT_RCNN,
    "MODEL.SOPSEG_BRANCH.ENABLED": _PROMPT_RCNN,
    "MODEL.PROMPT.SAMPLING.ENABLED": _PROMPT_RPN,
    "MODEL.RPN.AREA_LOSS.ENABLED": _PROMPT_RPN,
    "MODEL.SCNET.SEMANTIC.ENABLED": ("MODEL.ROI_HEADS.NAME", "SCNetROIHeads"),
}


def _require_readers(cfg: "CfgNode") -> None:
    from detectron2.modeling import META_ARCH_REGISTRY, PROPOSAL_GENERATOR_REGISTRY, ROI_HEADS_REGISTRY

    registries = {
        "MODEL.META_ARCHITECTURE": META_ARCH_REGISTRY,
        "MODEL.PROPOSAL_GENERATOR.NAME": PROPOSAL_GENERATOR_REGISTRY,
        "MODEL.ROI_HEADS.NAME": ROI_HEADS_REGISTRY,
    }
    for switch, (key, reader) in _READERS.items():
        name, registry = _value(cfg, key), registries[key]
        reads = name in registry and issubclass(registry.get(name), registry.get(reader))
        if _value(cfg, switch) and not reads:
            raise ConfigError(
                f"{switch} is True, but {key} is {name!r}, which would ignore it: set {key} to {reader}, or {switch} "
                "to False"
            )


_JITTER = ("a number from 0 to below 0.5, at which a box could turn over", lambda value: 0 <= value < 0.5)
_COUNT = ("at least 1", lambda value: value >= 1)
# Values whose effect would go unnoticed for hours, or forever
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
    "MODEL.PROMPT.GPM.MAX_TOKENS": _COUNT,
    "MODEL.PROMPT.CONSTANT.DIM": _COUNT,
    "MODEL.PROMPT.CONSTANT.GRID": _COUNT,
    "MODEL.PROMPT.PROJECTION_LR_FACTOR": ("at least 0", lambda value: value >= 0),
    "MODEL.SOPSEG.JITTER": _JITTER,
    "TEST.PROMPT_JITTER": _JITTER,
    "TEST.DETECTIONS_PER_IMAGE": _COUNT,
    "SOLVER.CHECKPOINT_PERIOD": _COUNT,
    "SOLVER.CHECKPOINTS_TO_KEEP": ("at least 0", lambda value: value >= 0),
    "TEST.VALIDATION_IMAGES": ("at least 0", lambda value: value >= 0),
    "SEED": ("below 2^32 (NumPy's limit), or negative for a random seed", lambda value: value < 2**32),
}


def _require_values(cfg: "CfgNode") -> None:
    for key, (expected, holds) in _VALUES.items():
        if not holds(_value(cfg, key)):
            raise ConfigError(f"{key}: expected {expected}, got {_value(cfg, key)}")


def _value(cfg: "CfgNode", key: str) -> Any:
    return functools.reduce(operator.getitem, key.split("."), cfg)
