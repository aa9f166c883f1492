import json
import signal

import pytest
import torch
from helpers.waiting import wait_until


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_help_shows_detectron2s_arguments(insight):
    done = insight("train", "--help")
    assert done.code == 0
    for argument in ("--config-file", "--resume", "--eval-only", "--num-gpus", "--num-machines", "--machine-rank",
                     "--dist-url", "--num-processes"):  # fmt: skip
        assert argument in done.out
    assert "--config-file nwpu_light insight OUTPUT_DIR" in done.out


def test_a_training_leaves_what_detectron2s_users_expect(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"config.yaml", "log.txt", "metrics.json", "model_final.pth", "last_checkpoint", "inference"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert "segm/AP50" in set().union(*lines_of(trained / "metrics.json"))
    checkpoint = torch.load(trained / "model_final.pth", weights_only=True)
    assert checkpoint["iteration"] == 1 and checkpoint["trainer"]["class_names"] == ["square", "bar"]


def test_a_dry_run_prints_its_report_and_not_the_model(insight, project, tmp_path):
    done = insight("train", "--config-file", project / "config.yaml", "--dry-run", "OUTPUT_DIR", tmp_path / "run")
    assert done.code == 0, done.err
    assert "seconds per step" in done.out and "Model:\n" not in done.out  # hundreds of lines
    assert not (tmp_path / "run").exists()


def test_evaluation_alone(insight, project, trained, tmp_path):
    config = ["--config-file", project / "config.yaml"]
    weights = ["MODEL.WEIGHTS", trained / "model_final.pth"]
    done = insight("train", *config, "--eval-only", *weights, "OUTPUT_DIR", tmp_path)
    assert done.code == 0, done.err
    assert "AP50" in done.out
    log = (tmp_path / "log.txt").read_text()
    assert "Model:\nPromptRCNN(" in log and "Model:\n" not in done.out  # hundreds of lines
    assert not (tmp_path / "last_checkpoint").exists()
    assert str(trained / "model_final.pth") in (tmp_path / "config.yaml").read_text()


def test_an_evaluation_leaves_the_config_of_a_training_alone(insight, project, trained, tmp_path):
    for name in ("config.yaml", "model_final.pth"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    written = (tmp_path / "config.yaml").read_text()
    evaluation = ["--config-file", tmp_path / "config.yaml", "--eval-only", "OUTPUT_DIR", tmp_path]
    evaluation += ["MODEL.WEIGHTS", tmp_path / "model_final.pth"]
    assert insight("train", *evaluation, "TEST.AREA_PROFILE", "none").code == 2
    assert (tmp_path / "config.yaml").read_text() == written
    assert insight("train", *evaluation).code == 0 and (tmp_path / "results.json").exists()
    assert (tmp_path / "config.yaml").read_text() == written


@pytest.mark.parametrize(
    "overrides, said",
    [
        (["MODEL.NOT_THERE", "1"], "overrides: unknown config key MODEL.NOT_THERE"),
        (["SOLVER.MAX_ITER"], "overrides: expected KEY VALUE pairs, SOLVER.MAX_ITER has no value"),
        (["SOLVER.MAX_ITER", "many"], "SOLVER.MAX_ITER: expected a value of type int, got many of type str"),
        (["SOLVER.OPTIMIZER", "Adam"], 'SOLVER.OPTIMIZER: expected "SGD" or "AdamW", got'),
        (["DATASETS.TRAIN", "('elsewhere',)"], "DATASETS.TRAIN: unknown dataset 'elsewhere'; insight's are"),
        (["DATASETS.TEST", "('elsewhere',)"], "DATASETS.TEST: unknown dataset 'elsewhere'; insight's are"),
        (["MODEL.WEIGHTS", "absent.pth"], "absent.pth: no such checkpoint"),
        (["SOLVER.BASE_LR", "1e12", "SOLVER.WARMUP_ITERS", "0"], "NaN"),
        (["--eval-only"], "MODEL.WEIGHTS is empty"),
        (["--num-gpus=-1"], "--num-gpus: expected an integer from 1, got -1"),
        (["--num-gpus=99"], "--num-gpus: expected at most "),
        (["--num-processes=-2"], "--num-processes: expected an integer from 1, got -2"),
        (["--num-processes=0"], "--num-processes: expected an integer from 1, got 0"),
        (
            ["--num-processes=2", "SOLVER.IMS_PER_BATCH", "3"],
            "SOLVER.IMS_PER_BATCH is 3: expected a multiple of the 2 processes",
        ),
        (["SOLVER.IMS_PER_BATCH", "0"], "SOLVER.IMS_PER_BATCH is 0: expected at least 1"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(insight, project, tmp_path, overrides, said):
    flags = [o for o in overrides if o.startswith("--")]
    values = [o for o in overrides if not o.startswith("--")]
    done = insight(
        "train", "--config-file", project / "config.yaml", *flags, "OUTPUT_DIR", tmp_path / "output", *values
    )
    assert done.code == 2
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and said in errors[0]
    assert "Traceback" not in done.out + done.err
    if "absent.pth" in overrides:
        assert not (tmp_path / "output").exists()  # found out before anything is built or written


@pytest.mark.parametrize("content", [None, "MODEL: [unclosed", "MODEL: {NOT_THERE: 1}", "words"])
def test_a_wrong_config_file_is_named(insight, tmp_path, content):
    path = tmp_path / "wrong.yaml"
    if content is not None:
        path.write_text(content)
    done = insight("train", "--config-file", path)
    assert done.code == 2 and str(path) in done.err and done.err.count("error: ") == 1
    assert "Traceback" not in done.out + done.err


def test_a_corrupt_image_stops_the_training_with_its_name(insight, project, tmp_path):
    broken = tmp_path / "images"
    broken.mkdir()
    for image in (project / "rectangles" / "images").iterdir():
        (broken / image.name).write_bytes(image.read_bytes()[:200])
    coco = [["broken_rectangles", str(project / "rectangles" / "instances.json"), str(broken)]]
    for workers in (0, 2):
        done = insight(
            "train", "--config-file", project / "config.yaml", "OUTPUT_DIR", tmp_path / "output",
            "DATASETS.COCO", coco, "DATASETS.TRAIN", ("broken_rectangles",), "DATALOADER.NUM_WORKERS", workers,
        )  # fmt: skip
        assert done.code == 2 and "Traceback" not in done.out + done.err
        error = done.err.splitlines()[-1]
        assert error.startswith("error: ") and ".png" in error and "truncated" in error


@pytest.fixture(scope="module")
def long_training(project):
    """The words that start a training of 12 iterations, with a checkpoint after every second."""

    def words(output, *flags):
        return [
            "train", "--config-file", project / "config.yaml", *flags, "OUTPUT_DIR", output,
            "SOLVER.MAX_ITER", 12, "SOLVER.CHECKPOINT_PERIOD", 2, "DATALOADER.NUM_WORKERS", 1, "DATASETS.TEST", "()",
        ]  # fmt: skip

    return words


@pytest.mark.slow
def test_a_terminated_training_resumes_to_the_same_model(commands, long_training, tmp_path):
    """One that is killed does too: tests/reliability/test_kills.py."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert commands.run(long_training(whole)).code == 0
    process = commands.start(long_training(stopped))
    wait_until(lambda: (stopped / "model_0000003.pth").exists() or not process.running, 120)
    process.signal(signal.SIGTERM, group=False)
    assert process.wait(60) and process.code == 143, process.output.read_text()
    assert not (stopped / "model_final.pth").exists()
    resumed = commands.run(long_training(stopped, "--resume"))
    assert resumed.code == 0, resumed.output.read_text()
    assert (stopped / "log.txt").read_text().count("Starting training from iteration 0") == 1  # of the first run
    expected, found = (
        torch.load(folder / "model_final.pth", weights_only=True)["model"] for folder in (whole, stopped)
    )
    assert expected.keys() == found.keys() and all(value.equal(found[name]) for name, value in expected.items())


@pytest.mark.slow
def test_two_processes_on_the_cpu_train_and_evaluate(commands, project, tmp_path):
    arguments = ["--config-file", project / "config.yaml", "--num-processes", 2, "--dist-url", "auto"]
    process = commands.run(["train", *arguments, "OUTPUT_DIR", tmp_path, "SOLVER.AMP.ENABLED", True], 400)
    output = process.output.read_text()
    assert process.code == 0, output
    assert "Process 0 of 2" in output
    last = [line for line in lines_of(tmp_path / "metrics.json") if "total_loss" in line][-1]
    assert last["iteration"] == 7
    assert "segm/AP" in set().union(*lines_of(tmp_path / "metrics.json"))


@pytest.mark.slow
def test_an_error_in_one_of_two_processes_ends_both_with_one_line(commands, project, tmp_path):
    arguments = ["--config-file", project / "config.yaml", "--num-processes", 2, "--dist-url", "auto"]
    process = commands.run(["train", *arguments, "OUTPUT_DIR", tmp_path, "SOLVER.OPTIMIZER", "Adam"], 200)
    output = process.output.read_text()
    assert process.code == 2
    assert "error: SOLVER.OPTIMIZER: expected" in output
    assert "Traceback" not in output
