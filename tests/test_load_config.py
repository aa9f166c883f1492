import pytest
import torch

pytest.importorskip("detectron2")
from insight.config import ConfigError, load_config


def test_the_defaults_leave_every_part_off():
    cfg = load_config()
    assert cfg.is_frozen() and cfg.MODEL.META_ARCHITECTURE == "GeneralizedRCNN"
    assert not any((cfg.MODEL.PROMPT.LPM.ENABLED, cfg.MODEL.PROMPT.GPM.ENABLED, cfg.MODEL.RPN.AREA_LOSS.ENABLED))


def test_overrides_come_after_the_file_and_its_base(tmp_path):
    (tmp_path / "base.yaml").write_text("VERSION: 2\nSOLVER: {MAX_ITER: 1, BASE_LR: 0.1, IMS_PER_BATCH: 3}\n")
    (tmp_path / "top.yaml").write_text("_BASE_: base.yaml\nSOLVER: {MAX_ITER: 2, BASE_LR: 0.2}\n")
    cfg = load_config(str(tmp_path / "top.yaml"), ["SOLVER.BASE_LR", "0.3"])
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR) == (3, 2, 0.3)


@pytest.mark.parametrize(
    "content, said",
    [
        ("_BASE_: absent.yaml", "absent.yaml"),
        ("words", "expected sections of KEY: VALUE"),
        ("MODEL: 3", "expected sections of KEY: VALUE"),
        ("MODEL: [a\n b: 3", "line 2"),
        ("VERSION: 2\nMODEL: {NOT_THERE: 1}", "Non-existent config key: MODEL.NOT_THERE"),
        ("VERSION: 2\nSOLVER: {MAX_ITER: many}", "for config key: SOLVER.MAX_ITER"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path, content, said):
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    message = str(caught.value)
    assert message.startswith(str(path)) and said in message and "\n" not in message


def test_a_missing_file():
    with pytest.raises(ConfigError, match="--config-file absent.yaml: no such file"):
        load_config("absent.yaml")


@pytest.mark.parametrize("name", ["tpu9", "mps", "meta", "xpu", "cpu:3", "cuda:x", ""])
def test_another_device(name):
    with pytest.raises(ConfigError, match=f"MODEL.DEVICE is '{name}': expected cpu, cuda or cuda:N"):
        load_config("", ["MODEL.DEVICE", name])


def test_a_gpu_beyond_those_that_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert load_config("", ["MODEL.DEVICE", "cuda:1"]).MODEL.DEVICE == "cuda:1"
    with pytest.raises(ConfigError, match="MODEL.DEVICE is 'cuda:2': there is no such GPU"):
        load_config("", ["MODEL.DEVICE", "cuda:2"])


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


@pytest.mark.parametrize("available, device", [(True, "cuda"), (False, "cpu")])
def test_cuda_becomes_the_cpu_only_where_there_is_no_gpu(monkeypatch, caplog, available, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    chosen = load_config("", ["MODEL.DEVICE", "cuda"]).MODEL.DEVICE
    assert chosen == device
    assert ("there is no GPU: using the CPU" in caplog.text) != available


def test_a_whole_number_for_a_float_is_told_how_to_write_it(tmp_path):
    (tmp_path / "config.yaml").write_text("SOLVER: {BASE_LR: 1}")
    for source in (("", ["SOLVER.BASE_LR", "1"]), (str(tmp_path / "config.yaml"),)):
        with pytest.raises(ConfigError, match="for config key: SOLVER.BASE_LR; write 1.0$"):
            load_config(*source)
