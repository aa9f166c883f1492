"""Values that a config must not have, and parts that a model would ignore."""

import pytest

pytest.importorskip("detectron2")

from insight.config import ConfigError, load_config


@pytest.mark.parametrize(
    "switch, key, names, reader",
    [
        ("MODEL.SOPSEG_BRANCH.ENABLED", "MODEL.META_ARCHITECTURE", ["GeneralizedRCNN", "SOPSEG"], "PromptRCNN"),
        ("MODEL.PROMPT.LPM.ENABLED", "MODEL.META_ARCHITECTURE", ["GeneralizedRCNN"], "PromptRCNN"),
        ("MODEL.PROMPT.GPM.ENABLED", "MODEL.META_ARCHITECTURE", ["SOPSegMetaArch"], "PromptRCNN"),
        (
            "MODEL.PROMPT.SAMPLING.ENABLED",
            "MODEL.PROPOSAL_GENERATOR.NAME",
            ["RPN", "PrecomputedProposals"],
            "PromptRPN",
        ),
        ("MODEL.RPN.AREA_LOSS.ENABLED", "MODEL.PROPOSAL_GENERATOR.NAME", ["RPN"], "PromptRPN"),
        ("MODEL.SCNET.SEMANTIC.ENABLED", "MODEL.ROI_HEADS.NAME", ["CascadeMaskROIHeads"], "SCNetROIHeads"),
    ],
)
def test_a_part_that_the_model_would_ignore_is_an_error(switch, key, names, reader):
    for name in names:
        with pytest.raises(ConfigError) as caught:
            load_config("", [key, name, switch, True])
        why = f"{switch} is True, but {key} is {name!r}, which would ignore it"
        assert str(caught.value) == f"{why}: set {key} to {reader}, or {switch} to False"
        load_config("", [key, name])
    assert load_config("", [key, reader, switch, True]).is_frozen()


@pytest.mark.parametrize(
    "key, wrong, right",
    [
        *((f"MODEL.PROMPT.{key}", [0, -1], [4]) for key in ("CROP_SIZE", "LPM.DIM", "LPM.PATCH_SIZE", "LPM.STRIDE")),
        *(
            (f"MODEL.PROMPT.GPM.{key}", [0], [8])
            for key in ("DIM", "NUM_HEADS", "DEPTH", "GLOBAL_PATCH", "LOCAL_PATCH")
        ),
        ("MODEL.PROMPT.PROJECTION_LR_FACTOR", [-1.0], [0.0, 10.0]),
        ("MODEL.SOPSEG.JITTER", [-1.0, 0.5, float("nan")], [0.0, 0.49]),
        ("TEST.PROMPT_JITTER", [-0.1, 3.0], [0.0, 0.3]),
        ("TEST.DETECTIONS_PER_IMAGE", [-5, 0], [1]),
        ("SOLVER.CHECKPOINT_PERIOD", [-1, 0], [1]),
        ("SEED", [2**32], [-1, 2**32 - 1]),
    ],
)
def test_a_value_out_of_range_is_an_error(key, wrong, right):
    for value in wrong:
        with pytest.raises(ConfigError, match=f"^{key}: expected .*, got {value}$"):
            load_config("", [key, value])
    for value in right:
        assert load_config("", [key, value]).is_frozen()


def test_a_subclass_of_what_reads_a_part_will_do():
    from detectron2.modeling import META_ARCH_REGISTRY

    from insight.modeling.meta_arch import PromptRCNN

    META_ARCH_REGISTRY._do_register("MyRCNN", type("MyRCNN", (PromptRCNN,), {}))
    try:
        assert load_config("", ["MODEL.META_ARCHITECTURE", "MyRCNN", "MODEL.PROMPT.LPM.ENABLED", True]).is_frozen()
    finally:
        del META_ARCH_REGISTRY._obj_map["MyRCNN"]
