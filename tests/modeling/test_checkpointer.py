import contextlib
import errno
import multiprocessing
import os
import pickle
import resource
import signal
import sys

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("detectron2")
from insight.checkpoint import CheckpointError
from insight.config import load_config
from insight.modeling import checkpointer as checkpointer_module
from insight.modeling.checkpointer import Checkpointer, require_weights
from insight.runtime import atomic_files


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


def test_a_checkpoint_of_the_earlier_gpm_is_told_in_one_line(tmp_path):
    old, new = Model(), Model()
    for model, part in ((old, "readout"), (new, "size")):
        model.global_to_local = nn.ModuleDict({part: nn.Sequential(nn.Linear(2, 2))})
    path = saved(tmp_path, old)
    for exact in (True, False):
        with pytest.raises(
            CheckpointError, match=r"^[^\n]*does not fit the model: its GPM is that of [^\n]*train it again"
        ):
            Checkpointer(new, exact=exact).load(path, checkpointables=[])


def test_another_class_count_is_told_where_it_must_fit_and_tolerated_to_start_from(tmp_path, caplog):
    source = Model(classes=81)
    path = saved(tmp_path, source)
    with pytest.raises(CheckpointError, match=r"box_predictor.bias: \(81,\) in the file, \(3,\) in the model"):
        Checkpointer(Model(), exact=True).load(path)
    model = Model()
    Checkpointer(model).load(path, checkpointables=[])
    assert model.backbone.weight.equal(source.backbone.weight)
    assert "box_predictor.weight" in caplog.text


def test_a_model_without_a_checkpoint_is_not_said_to_start_from_scratch(caplog):
    with caplog.at_level("INFO"):
        assert Checkpointer(Model()).load("") == {}
    assert "the model keeps the weights that it was built with" in caplog.text and "scratch" not in caplog.text


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
    text, folder = tmp_path / "text.pth", tmp_path / "folder.pth"
    text.write_text("hello")
    folder.mkdir()
    with pytest.raises(CheckpointError, match=f"^{text}: damaged, or not a weight file"):
        Checkpointer(Model()).load(str(text))
    with pytest.raises(CheckpointError, match=f"^{folder}: expected a weight file, got a folder$"):
        Checkpointer(Model()).load(str(folder))
    with pytest.raises(CheckpointError, match="absent.pth: no such checkpoint"):
        Checkpointer(Model()).load(str(tmp_path / "absent.pth"))
    with pytest.raises(CheckpointError, match="http://127.0.0.1:9/x.pth: cannot be downloaded .*name a file instead"):
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
        (b"half", f"^{tmp_path}/model_0000003.pth: damaged, or not a weight file .*{advice}1.pth$"),
        (None, f"^{tmp_path}/model_0000003.pth: no such checkpoint{advice}1.pth$"),
    ):
        (tmp_path / "model_0000003.pth").unlink()
        if content is not None:
            (tmp_path / "model_0000003.pth").write_bytes(content)
        with pytest.raises(CheckpointError, match=said):
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
    is_sopseg = ("MODEL.META_ARCHITECTURE", "SOPSegMetaArch")
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


class Touches:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_last_checkpoint_names_a_file_of_its_folder_or_is_refused(tmp_path):
    run, other, trace = tmp_path / "run", tmp_path / "other", tmp_path / "trace"
    saved(run, name="model_0000001")
    whole = saved(other, name="whole")
    (other / "evil.pkl").write_bytes(pickle.dumps({"model": Touches(trace), "__author__": "me"}))
    (run / "evil.pkl").write_bytes((other / "evil.pkl").read_bytes())
    last = run / "last_checkpoint"
    for name in ("../other/evil.pkl", "../other/whole.pth", str(other / "evil.pkl"), whole, "", "..", ".", "a\0b"):
        last.write_text(name)
        with pytest.raises(CheckpointError) as error:
            Checkpointer(Model(), str(run)).resume_or_load("", resume=True)
        said = (
            f"{last}: expected the name of a file beside it, got {name!r:.80}: write another one's name there, such as "
        )
        assert str(error.value) == said + "model_0000001.pth"
    last.write_bytes(b"\xff\xfe" * 5000)
    with pytest.raises(CheckpointError, match=f"^{last}: expected the name of a file beside it"):
        Checkpointer(Model(), str(run)).resume_or_load("", resume=True)
    last.write_text("evil.pkl")
    with pytest.raises(CheckpointError, match=r"evil.pkl: refused, .* Python objects \(\w+.open\)"):
        Checkpointer(Model(), str(run)).resume_or_load("", resume=True)
    assert not trace.exists()
    with pytest.raises(CheckpointError, match="absent.pth: no such checkpoint$"):  # and not what last_checkpoint says
        Checkpointer(Model(), str(run)).resume_or_load(str(run / "absent.pth"), resume=False)


@pytest.mark.parametrize("suffix", ["pth", "pyth", "pkl"])
@pytest.mark.parametrize(
    "content", [[1], {"model": 5}, {1: torch.ones(1)}, {"model": {}}, {"blobs": 5}, {"model_state": [1]}, {}]
)
def test_odd_contents_are_one_line(tmp_path, suffix, content):
    path = tmp_path / f"odd.{suffix}"
    if suffix == "pkl":
        path.write_bytes(pickle.dumps({1: 2} if 1 in content else content))
    else:
        torch.save(content, path)
    for checkpointables in (None, []):
        with pytest.raises(CheckpointError, match=f"^{path}: expected a state dict[^\n]*$"):
            Checkpointer(Model()).load(str(path), checkpointables)


def arrays():
    return {name: value.numpy() for name, value in Model().state_dict().items()}


@pytest.mark.parametrize(
    "more", [{"__author__": "Detectron2"}, {"__author__": "Detectron2", "matching_heuristics": True}]
)
def test_detectron2s_pickled_model_zoo_files_load(tmp_path, more):
    model, path = Model(), tmp_path / "zoo.pkl"
    weights = arrays()
    path.write_bytes(pickle.dumps({"model": weights, **more}, protocol=2))
    Checkpointer(model, exact=True).load(str(path), checkpointables=[])
    assert (model.backbone.weight.detach().numpy() == weights["backbone.weight"]).all()


def test_files_of_caffe2_and_pycls_are_matched_by_heuristics(tmp_path):
    weights = arrays()
    blobs = {"backbone_w": weights["backbone.weight"], "backbone_b": weights["backbone.bias"]}
    blobs = {**blobs, "backbone_w_momentum": np.zeros(1, np.float32)}
    (tmp_path / "caffe2.pkl").write_bytes(pickle.dumps({"blobs": blobs, "cfg": "..."}, protocol=2))
    (tmp_path / "imagenet.pkl").write_bytes(pickle.dumps(blobs, protocol=2))
    states = {name: torch.from_numpy(array) for name, array in weights.items()}
    torch.save({"model_state": {**states, "bn.num_batches_tracked": torch.tensor(1)}}, tmp_path / "pycls.pyth")
    for name in ("caffe2.pkl", "imagenet.pkl", "pycls.pyth"):
        model = nn.ModuleDict({"bottom_up": Model()})
        Checkpointer(model).load(str(tmp_path / name), checkpointables=[])
        assert np.array_equal(model["bottom_up"].backbone.weight.detach().numpy(), weights["backbone.weight"])


def test_safetensors_load(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    source, model = Model(), Model()
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    Checkpointer(model, exact=True).load(str(tmp_path / "model.safetensors"), checkpointables=[])
    assert model.backbone.weight.equal(source.backbone.weight)


def test_heuristics_can_be_asked_for_behind_the_name(tmp_path):
    source, model = Model(), nn.ModuleDict({"bottom_up": Model()})
    torch.save(source.state_dict(), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="none of its parameters is in the model"):
        Checkpointer(model).load(str(tmp_path / "other.pth"), checkpointables=[])
    Checkpointer(model).load(f"{tmp_path}/other.pth?matching_heuristics=True", checkpointables=[])
    assert model["bottom_up"].backbone.weight.equal(source.backbone.weight)
    with pytest.raises(CheckpointError, match=r"expected \?matching_heuristics=True or nothing behind the name"):
        Checkpointer(model).load(f"{tmp_path}/other.pth?x=1", checkpointables=[])


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


def interrupt_a_write(folder, number):
    """A signal that Python takes notice of while torch.save calls the file."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    checkpointer = Checkpointer(nn.Linear(100, 100), folder)

    @contextlib.contextmanager
    def atomic_write(path, mode="w"):
        with atomic_files.atomic_write(path, mode) as file:
            yield WithSignal(file, number)

    checkpointer_module.atomic_write = atomic_write
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
        checkpointer.save("model")


class WithSignal:
    def __init__(self, file, number):
        self.file, self.number = file, number

    def write(self, data):
        os.kill(os.getpid(), self.number)
        return self.file.write(data)

    def flush(self):
        self.file.flush()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_write_is_no_full_disk(tmp_path, number):
    assert in_a_process(interrupt_a_write, str(tmp_path), number) == 0
    assert list(tmp_path.iterdir()) == []


def save_to_a_full_disk(folder):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with pytest.raises(OSError) as error:
        Checkpointer(nn.Linear(300, 300), folder).save("model")
    assert error.value.filename == f"{folder}/model.pth" and error.value.errno == errno.EFBIG


def test_a_full_disk_is_one_error_and_leaves_no_file(tmp_path):
    assert in_a_process(save_to_a_full_disk, str(tmp_path)) == 0
    assert list(tmp_path.iterdir()) == []
