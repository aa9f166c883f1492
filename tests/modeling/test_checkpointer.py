import multiprocessing
import os
import pickle
import resource
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("detectron2")
from insight.config import load_config
from insight.modeling.checkpointer import Checkpointer, CheckpointError, require_weights


class Model(nn.Module):
    def __init__(self, classes=3, width=4):
        super().__init__()
        self.backbone = nn.Linear(2, width)
        self.box_predictor = nn.Linear(width, classes)


def saved(folder, model=None, name="model", **more):
    Checkpointer(model or Model(), str(folder)).save(name, **more)
    return str(folder / f"{name}.pth")


def test_a_saved_model_loads_back_with_weights_only(tmp_path):
    model, other = Model(), Model()
    path = saved(tmp_path, model, iteration=5)
    assert torch.load(path, weights_only=True)["iteration"] == 5
    checkpointer = Checkpointer(other, str(tmp_path), exact=True)
    assert checkpointer.get_checkpoint_file() == path
    assert checkpointer.load(path)["iteration"] == 5
    for name, value in model.state_dict().items():
        assert other.state_dict()[name].equal(value)


def test_a_model_with_more_parts_does_not_resume_silently(tmp_path):
    path = saved(tmp_path)
    bigger = Model()
    bigger.prompt = nn.Linear(4, 4)
    with pytest.raises(
        CheckpointError, match=r"2 parameters of the model are not in it \(prompt.bias, prompt.weight\)"
    ):
        Checkpointer(bigger, str(tmp_path)).resume_or_load("", resume=True)
    with pytest.raises(CheckpointError, match="are not in it"):
        Checkpointer(bigger, exact=True).load(path, checkpointables=[])
    with pytest.raises(CheckpointError, match=r"2 of its parameters are not in the model \(prompt.bias"):
        Checkpointer(Model(), exact=True).load(saved(tmp_path, bigger, "bigger"))


def test_another_class_count_is_told_where_it_must_fit_and_tolerated_to_start_from(tmp_path, caplog):
    source = Model(classes=81)
    path = saved(tmp_path, source)
    with pytest.raises(CheckpointError, match=r"box_predictor.bias: \(81,\) in the file, \(3,\) in the model"):
        Checkpointer(Model(), exact=True).load(path)
    model = Model()
    Checkpointer(model).load(path, checkpointables=[])
    assert model.backbone.weight.equal(source.backbone.weight)
    assert "box_predictor.weight" in caplog.text


def test_another_width_is_never_tolerated(tmp_path):
    path = saved(tmp_path, Model(width=8))
    with pytest.raises(CheckpointError, match=r"does not fit the model.*backbone.bias: \(8,\) in the file, \(4,\)"):
        Checkpointer(Model()).load(path, checkpointables=[])


def test_a_checkpoint_with_nothing_in_common_is_refused(tmp_path):
    path = saved(tmp_path, nn.Conv2d(1, 1, 1))
    with pytest.raises(CheckpointError, match="none of its parameters is in the model"):
        Checkpointer(Model()).load(path, checkpointables=[])


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = Model()
    model.backbone.bias.data[0] = float("nan")
    path = saved(tmp_path, model)
    for checkpointables in (None, []):
        with pytest.raises(CheckpointError, match="model.pth: backbone.bias holds NaN or infinity"):
            Checkpointer(Model()).load(path, checkpointables)


def test_bad_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    damaged = tmp_path / "damaged.pth"
    whole = Path(saved(tmp_path)).read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    unsafe = tmp_path / "unsafe.pth"
    torch.save({"model": Model()}, unsafe)
    text = tmp_path / "text.pth"
    text.write_text("hello")
    pickled = tmp_path / "text.pkl"
    pickled.write_text("hello")
    for path in (damaged, unsafe, text, pickled):
        with pytest.raises(
            CheckpointError, match=f"{path.name}: not a checkpoint, damaged, or unsafe to load"
        ) as caught:
            Checkpointer(Model()).load(str(path))
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="absent.pth: no such checkpoint"):
        Checkpointer(Model()).load(str(tmp_path / "absent.pth"))
    with pytest.raises(CheckpointError, match="http://127.0.0.1:9/x.pth: cannot be had .*name a file instead"):
        Checkpointer(Model()).load("http://127.0.0.1:9/x.pth")  # a port where nothing answers
    with pytest.raises(CheckpointError, match="MODEL.WEIGHTS is empty"):
        Checkpointer(Model(), exact=True).resume_or_load("", resume=False)
    Checkpointer(Model()).load("")  # a training from scratch


def test_a_last_checkpoint_that_cannot_be_read_names_another(tmp_path):
    for number in (1, 3):
        saved(tmp_path, name=f"model_000000{number}")
    last = tmp_path / "last_checkpoint"
    advice = f"; {last} names it: write another one's name there, such as model_000000"
    for content, said in (
        (b"half", f"^{tmp_path}/model_0000003.pth: not a checkpoint, .*{advice}1.pth$"),
        (None, f"^{tmp_path}/model_0000003.pth: no such checkpoint{advice}1.pth$"),
    ):
        (tmp_path / "model_0000003.pth").unlink()
        if content is not None:
            (tmp_path / "model_0000003.pth").write_bytes(content)
        with pytest.raises(CheckpointError, match=said):
            Checkpointer(Model(), str(tmp_path)).resume_or_load("", resume=True)
    last.write_text("")
    with pytest.raises(CheckpointError, match=f"no such checkpoint{advice}1.pth$"):
        Checkpointer(Model(), str(tmp_path)).resume_or_load("", resume=True)
    with pytest.raises(CheckpointError, match="model.pth: no such checkpoint$"):
        Checkpointer(Model(), str(tmp_path)).load(str(tmp_path / "other/model.pth"))


def test_weights_of_a_config_are_looked_for_where_they_will_be_read(tmp_path):
    def required(*overrides, resume=False):
        require_weights(load_config("", [*overrides, "OUTPUT_DIR", str(tmp_path)]), resume)

    present = tmp_path / "a.pth"
    sopseg, branch = ("MODEL.SOPSEG.WEIGHTS", "b.pt"), ("MODEL.SOPSEG_BRANCH.WEIGHTS", "c.pt")
    present.touch()
    for weights in ("", present, f"{present}?matching_heuristics=True", "detectron2://R-50.pkl", "https://host/a.pkl"):
        required("MODEL.WEIGHTS", str(weights), *sopseg, *branch)  # a Mask R-CNN
    is_sopseg = ("MODEL.META_ARCHITECTURE", "SOPSEG")
    required(*is_sopseg, *sopseg, "MODEL.WEIGHTS", str(present))  # which hold all
    with pytest.raises(CheckpointError, match="^MODEL.SOPSEG.WEIGHTS: b.pt: no such checkpoint$"):
        required(*is_sopseg, *sopseg)
    with pytest.raises(CheckpointError, match="^MODEL.SOPSEG_BRANCH.WEIGHTS: c.pt: no such checkpoint$"):
        required("MODEL.META_ARCHITECTURE", "PromptRCNN", "MODEL.SOPSEG_BRANCH.ENABLED", True, *branch)
    with pytest.raises(CheckpointError, match="^MODEL.WEIGHTS: d.pth: no such checkpoint$"):
        required("MODEL.WEIGHTS", "d.pth", resume=True)
    (tmp_path / "last_checkpoint").write_text("a.pth")
    required("MODEL.WEIGHTS", "d.pth", resume=True)
    with pytest.raises(CheckpointError, match="MODEL.WEIGHTS: d.pth"):
        required("MODEL.WEIGHTS", "d.pth")


def test_detectron2s_pickled_model_zoo_files_load(tmp_path):
    model, path = Model(), tmp_path / "zoo.pkl"
    weights = {name: value.numpy() for name, value in Model().state_dict().items()}
    path.write_bytes(pickle.dumps({"model": weights, "__author__": "Detectron2"}))
    Checkpointer(model, exact=True).load(str(path), checkpointables=[])
    assert (model.backbone.weight.detach().numpy() == weights["backbone.weight"]).all()


def in_a_process(function, *args):
    """Run it in a forked process; its exit code."""
    process = multiprocessing.get_context("fork").Process(target=function, args=args)
    process.start()
    process.join()
    return process.exitcode


def save_and_be_killed(folder, number):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
    checkpointer = Checkpointer(nn.Linear(100, 100), folder)
    checkpointer.save("first")
    write = torch.save

    def write_and_be_killed(data, file):
        write(data, file)
        file.flush()
        os.kill(os.getpid(), number)

    torch.save = write_and_be_killed
    checkpointer.save("second")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_kill_while_saving_leaves_the_last_checkpoint_valid(tmp_path, number):
    assert in_a_process(save_and_be_killed, str(tmp_path), number) != 0
    assert sorted(p.name for p in tmp_path.iterdir() if p.name[0] != ".") == ["first.pth", "last_checkpoint"]
    Checkpointer(nn.Linear(100, 100), str(tmp_path)).resume_or_load("", resume=True)


def save_to_a_full_disk(folder):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with pytest.raises(OSError, match="model.pth"):
        Checkpointer(nn.Linear(300, 300), folder).save("model")


def test_a_full_disk_is_one_error_and_leaves_no_file(tmp_path):
    assert in_a_process(save_to_a_full_disk, str(tmp_path)) == 0
    assert list(tmp_path.iterdir()) == []
