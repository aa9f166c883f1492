"""Runs that are killed, or interrupted, at random times: started again, they end as if nothing had happened.

The times are drawn. INSIGHT_SEED repeats a failure, INSIGHT_SECONDS says how long each test tries (default: 10).
"""

import hashlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("detectron2")

from helpers.tiny import CONFIG, PROMPTS, PROMPTS_FILE, write_dataset
from helpers.waiting import wait_until
from helpers.workplace import KEEP_ALL
from helpers.zygote import zygote

from insight.modeling.sopseg import build_sopseg

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("INSIGHT_SECONDS", "10"))
PATIENCE = 60.0  # seconds that an interrupted command has to end


@pytest.fixture
def draw():
    """A generator of this run's own, whose seed is printed."""
    seed = int(os.environ.get("INSIGHT_SEED", random.randrange(2**32)))
    print(f"INSIGHT_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    with zygote(tmp_path_factory.mktemp("zygote")) as one:
        yield one


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A dataset, a config for it and a SAM with random weights."""
    folder = tmp_path_factory.mktemp("data")
    annotations, images = write_dataset(folder / "rectangles", images=12)
    config = {
        "_BASE_": str(PROMPTS_FILE),
        **CONFIG,
        "DATASETS": {"COCO": [["killed_rectangles", str(annotations), str(images)]], "TRAIN": ["killed_rectangles"],
                     "TEST": ["killed_rectangles"]},
        "MODEL": {**CONFIG["MODEL"], **PROMPTS},
        "SOLVER": {**CONFIG["SOLVER"], "CHECKPOINT_PERIOD": 2},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(0)
    torch.save(build_sopseg("vit_t", "sam").state_dict(), folder / "sam.pth")
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Of all files but locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def tries(draw) -> int:
    """Count tries until the time is over."""
    end, count = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        count += 1
        yield count
    print(f"{count} tries in {SECONDS:.0f} s")


def annotate_words(data: Path, output: Path) -> list:
    source = [data / "rectangles" / "instances.json", "--images", data / "rectangles" / "images"]
    model = ["--weights", data / "sam.pth", "--input-size", 64, "--device", "cpu"]
    return ["annotate", *source, *model, *KEEP_ALL, "--output", output]


def test_annotate_killed_at_any_time_ends_with_the_same_files(commands, data, tmp_path, draw):
    start = time.monotonic()
    assert commands.run(annotate_words(data, tmp_path / "whole")).code == 0
    lasts, expected = time.monotonic() - start, digests(tmp_path / "whole")
    killed = 0
    for number in tries(draw):
        output = tmp_path / f"killed{number}"
        for _ in range(draw.choice((1, 1, 2, 3))):
            command = commands.start(annotate_words(data, output))
            command.wait(draw.uniform(0, lasts))
            killed += command.running
            command.signal(signal.SIGKILL)
            assert command.wait(PATIENCE)
        done = commands.run(annotate_words(data, output))
        assert done.code == 0, done.output.read_text()
        assert digests(output) == expected
    print(f"{killed} kills")


def train_words(data: Path, output: Path, *more) -> list:
    config = [data / "config.yaml", *more, "DATALOADER.NUM_WORKERS", 1, "OUTPUT_DIR", output]
    return ["train", "--config-file", *config]


def result_of(output: Path) -> tuple:
    """The weights and the results of a training."""
    weights = torch.load(output / "model_final.pth", weights_only=True)
    results = json.loads((output / "results.json").read_text())
    return weights["model"], {key: results[key] for key in ("results", "config", "iteration")}


# What is waited for before a training is killed, and the seconds in which that happens.
PHASES = {
    "at the start": (lambda output: True, 2.0),
    "in training": (lambda output: (output / "metrics.json").exists(), 1.0),
    "at a checkpoint": (lambda output: any(output.glob(".model_*.tmp")), 0.02),
    "after a checkpoint": (lambda output: (output / "last_checkpoint").exists(), 0.1),
    "in evaluation": (lambda output: (output / "model_final.pth").exists(), 0.5),
}


def test_a_training_killed_at_any_time_ends_with_the_same_weights_and_results(commands, data, tmp_path, draw):
    assert commands.run(train_words(data, tmp_path / "whole")).code == 0
    weights, results = result_of(tmp_path / "whole")
    killed = dict.fromkeys(PHASES, 0)
    phases = list(PHASES)
    draw.shuffle(phases)
    for number in tries(draw):
        phase = phases[number % len(phases)]
        begun, within = PHASES[phase]
        output = tmp_path / f"killed{number}"
        command = commands.start(train_words(data, output))
        while command.running and not begun(output):
            time.sleep(0.001)
        command.wait(draw.uniform(0, within))
        killed[phase] += command.running
        command.signal(signal.SIGKILL, group=draw.random() < 0.5)
        assert command.wait(PATIENCE)
        wait_until(lambda command=command: not command.left())  # its loading processes follow it
        done = commands.run(train_words(data, output, "--resume"))
        assert done.code == 0, (phase, done.output.read_text())
        found_weights, found_results = result_of(output)
        assert found_results == results, phase
        assert found_weights.keys() == weights.keys()
        assert all(torch.equal(found_weights[name], value) for name, value in weights.items()), phase
        assert not list(output.glob(".*.tmp")), phase
    print(f"kills: {killed}")


def interruptible(data: Path) -> dict[str, list]:
    """The commands that start processes."""
    source, images = data / "rectangles" / "instances.json", data / "rectangles" / "images"
    config = ["--config-file", data / "config.yaml"]
    return {
        "data check": ["data", "check", "killed_rectangles", *config],
        "data foreground": ["data", "foreground", source, "--output", "@OUT"],
        "data prepare": ["data", "prepare", "isaid", data / "isaid", "--output", "@OUT"],
        "train": ["train", *config, "DATALOADER.NUM_WORKERS", 2, "OUTPUT_DIR", "@OUT"],
        "train in two processes": ["train", *config, "--num-processes", 2, "--dist-url", "auto", "OUTPUT_DIR", "@OUT"],
        "annotate": ["annotate", source, "--images", images, "--weights", data / "sam.pth", "--output", "@OUT",
                     "--input-size", 64, "--device", "cpu", *KEEP_ALL],
    }  # fmt: skip


@pytest.fixture(scope="module")
def painted(data):
    """Images of iSAID in `data`."""
    import numpy as np
    from PIL import Image

    folder = data / "isaid" / "train" / "images"
    folder.mkdir(parents=True)
    ids, colours = np.zeros((400, 400, 3), np.uint8), np.zeros((400, 400, 3), np.uint8)
    ids[50:200, 50:200], colours[50:200, 50:200] = (232, 3, 0), (0, 0, 63)  # 1000, a ship
    for number in range(1, 13):
        for suffix, picture in (("", colours), ("_instance_id_RGB", ids), ("_instance_color_RGB", colours)):
            Image.fromarray(picture).save(folder / f"P{number}{suffix}.png")
    return data


@pytest.mark.parametrize("name", interruptible(Path()))
def test_ctrl_c_ends_a_command_at_any_time(commands, painted, tmp_path, draw, name):
    def words(output):
        return [str(output) if word == "@OUT" else word for word in interruptible(painted)[name]]

    start = time.monotonic()
    whole = commands.run(words(tmp_path / "whole"))
    assert whole.code == 0, whole.output.read_text()
    lasts = time.monotonic() - start
    end, count, pressed = time.monotonic() + SECONDS / 4, 0, 0
    while time.monotonic() < end:
        count += 1
        output = tmp_path / f"interrupted{count}"
        command = commands.start(words(output))
        command.wait(draw.uniform(0.02, lasts))
        if command.running:
            pressed += 1
        command.signal(signal.SIGINT)
        assert command.wait(PATIENCE), f"hangs, after {count} presses: {command.output.read_text()}"
        said = command.output.read_text()
        assert command.code in (0, 130) and "Traceback" not in said, (command.code, said)
        wait_until(lambda command=command: not command.left())
        left = list(output.rglob("*.tmp")) if output.exists() else []
        assert not left, left
    print(f"{name}: {pressed} presses")


def test_of_trainings_in_one_folder_one_goes_on_undisturbed(commands, data, tmp_path):
    assert commands.run(train_words(data, tmp_path / "whole")).code == 0
    both = [commands.start(train_words(data, tmp_path / "both")) for _ in range(2)]
    assert all(command.wait(120) for command in both)
    assert sorted(command.code for command in both) == [0, 2], [command.output.read_text() for command in both]
    done, refused = sorted(both, key=lambda command: command.code)
    (line,) = [line for line in refused.output.read_text().splitlines() if line.startswith("error: ")]
    assert f"{tmp_path / 'both'}: process {done.pid} (insight train " in line
    weights, results = result_of(tmp_path / "whole")
    found_weights, found_results = result_of(tmp_path / "both")
    assert found_results == results and all(torch.equal(found_weights[name], weights[name]) for name in weights)


def test_of_predictions_in_one_folder_one_goes_on_undisturbed(commands, data, tmp_path):
    assert commands.run(train_words(data, tmp_path / "model")).code == 0
    model = ["--config-file", tmp_path / "model" / "config.yaml", "--weights", tmp_path / "model" / "model_final.pth"]
    words = ["predict", data / "rectangles" / "images", *model, "--score-threshold", 0, "--output"]
    assert commands.run([*words, tmp_path / "whole"]).code == 0
    both = [commands.start([*words, tmp_path / "both"]) for _ in range(2)]
    assert all(command.wait(120) for command in both)
    assert sorted(command.code for command in both) == [0, 2], [command.output.read_text() for command in both]
    assert digests(tmp_path / "both") == digests(tmp_path / "whole")
