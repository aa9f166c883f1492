"""What all commands have in common: help, wrong arguments, config overrides in any place, errors of one line."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from insight.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "train", "evaluate", "predict", "annotate", "convert", "cvat", "serve", "map", "table", "analyse", "compare",
    "plot", "info", "demo", "install-detectron2", "data prepare", "data check", "data statistics", "data foreground",
    "data show", "data town", "measure context", "measure gain", "measure jitter", "measure missed",
    "measure prompt-use", "measure proposals", "models show", "models fetch", "models export", "models onnx",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_describes_a_command_and_gives_examples_that_parse(insight, command):
    done = insight(command, "--help")
    assert done.code == 0 and not done.err
    assert done.out.startswith(f"usage: insight {command} ") and "examples:\n  insight " in done.out
    for example in done.out.split("examples:\n")[1].strip().replace("\\\n", "").splitlines():
        words = shlex.split(example)
        args = cli.build_parser().parse(words[1:])
        assert words[0] == "insight" and args.parser.prog == f"insight {command}"


def test_help_lists_all_commands(insight):
    done = insight("--help")
    listed = [line.split()[0] for line in done.out.splitlines() if line.startswith("    ") and line[4] != " "]
    groups = list(dict.fromkeys(command.split()[0] for command in COMMANDS))
    assert done.code == 0 and sorted(listed) == sorted([*groups, "bench"])


def test_a_file_that_is_named_like_an_argument_is_not_taken_for_it(insight, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for words in (("annotate", "images/", "--output", "masks"), ("predict", "images", "--output", "masks")):
        assert insight(*words).err.startswith("error: images: ")


# Prints what each command line ends with, and which of the packages that take seconds to import it has imported.
LIGHT = """
import json, sys
from insight.cli.main import main
for words in json.loads(sys.argv[1]):
    code = main(words.split())
    print(code, [name for name in ("torch", "detectron2") if name in sys.modules], words)
"""
WRONG = (
    "trian",
    "train --nope",
    "train",
    "train --config-file absent.yaml",
    "train --config-file nwpu_ligt",
    "train --config-file nwpu_light --weights absent.pth",
    "train --config-file nwpu_light --device tpu",
    "train --config-file nwpu_light --num-gpus 0",
    "evaluate",
    "evaluate --model absent",
    "evaluate --config-file nwpu_light --weights absent.pth",
    "predict absent.png --output out",
    "predict absent.tif --output out.gpkg",
    "predict IMAGE --output out --model absent",
    "predict IMAGE --output out --config-file absent.yaml",
    "predict IMAGE --output out --weights absent.pth",
    "predict IMAGE --output out --boxes-json absent.json",
    "predict IMAGE --output out --score-threshold 2",
    "predict IMAGE --output out --device tpu",
    "predict IMAGE --output out.gpkg --boxes absent.gpkg",
    "predict IMAGE --output out.gpkg --engine spark",
    "predict IMAGE --output out.gpkg --tile-size 64",
    "predict IMAGE --output out.gpkg --tile-size 512 --overlap 300",
    "predict IMAGE --output out.gpkg --simplify -1",
    "predict IMAGE --output IMAGE/out.gpkg",
    "predict IMAGE --output out --to gpkg --gsd 0",
    "annotate absent --output out",
    "annotate IMAGE",
    "annotate IMAGE --output out",
    "annotate IMAGE --output out --model absent",
    "annotate IMAGE --output out --weights absent.pth",
    "annotate IMAGE --output out --to yolo",
    "annotate IMAGE --output out --images absent",
    "annotate BOXES --output out",
    "annotate BOXES --output out --images IMAGE",
    "annotate BOXES --output out --images . --input-size 100",
    "annotate IMAGE --output out --review absent.csv",
    "annotate --ui absent",
    "convert absent out.json",
    "convert IMAGE out.xyz",
    "cvat --task 1 --url http://localhost --model absent",
    "map absent.gpkg IMAGE --output out.html",
    "map IMAGE absent.tif --output out.html",
    "map IMAGE IMAGE --output out.png",
    "serve absent",
    "serve --model absent",
    "serve --device tpu",
    "serve --host 0.0.0.0",
    "models show absent",
    "models export absent out",
    "models onnx absent out",
    "table absent",
    "table iai_2 --setup absent",
    "analyse absent.json --annotations IMAGE --output out",
    "analyse IMAGE --annotations absent.json --output out",
    "compare --runs ours=absent.yaml",
    "compare --runs ours=nwpu_light,absent.pth",
    "plot absent",
    "demo --device tpu",
    "demo --train --config-file absent.yaml",
    "data prepare isaid absent --output out",
    "data check absent --config-file absent.yaml",
    "data statistics absent --config-file absent.yaml",
    "data show absent --config-file absent.yaml",
    "data foreground absent.json --output out",
    "data town out.png",
    "measure context --output out.json --steps 0",
    "measure gain absent --output out --sam absent.pth",
    "measure gain absent --output out --row ours=absent",
    "measure jitter --output out.json --config-file absent.yaml",
    "measure missed --output out.json --score-threshold 2",
    "measure prompt-use --output out.json --model absent",
    "measure proposals --output out.json --weights absent.pth",
)


def test_help_and_wrong_arguments_import_neither_torch_nor_detectron2(tmp_path):
    image, boxes = tmp_path / "image.png", tmp_path / "boxes.json"
    Image.new("RGB", (8, 8)).save(image)
    boxes.write_text("{}")
    wrong = (words.replace("IMAGE", str(image)).replace("BOXES", str(boxes)) for words in WRONG)
    lines = [*(f"{command} --help" for command in ("", *COMMANDS)), *wrong]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CVAT_ACCESS_TOKEN": ""}
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, json.dumps(lines)], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    ended = [line for line in done.stdout.splitlines() if line.startswith(("0 [", "1 [", "2 ["))]
    assert ended == [f"{0 if line.endswith('--help') else 2} [] {line}" for line in lines], done.stderr
    assert set(tmp_path.iterdir()) == {image, boxes}


@pytest.mark.parametrize(
    "words, said",
    [
        ("", "the following arguments are required: COMMAND; see insight --help"),
        ("trian", "unknown command 'trian'; did you mean train?; see insight --help"),
        ("data shwo", "unknown command 'shwo'; did you mean show?; see insight data --help"),
        ("measure", "the following arguments are required: MEASUREMENT; see insight measure --help"),
        ("xyz", "unknown command 'xyz'; expected one of train, evaluate, predict"),
        ("predict a.png --outptu x", "unknown option --outptu; did you mean --output?; see insight predict --help"),
        ("train --config-fiel=x", "unknown option --config-fiel; did you mean --config-file?"),
        ("train -x", "unknown option -x; see insight train --help"),
        ("plot", "the following arguments are required: SOURCE; see insight plot --help"),
        ("plot run --output", "argument --output: expected one argument"),
        ("info now", "unexpected argument: now"),
        ("analyse a.json b.json --annotations c --output d", "unexpected argument: b.json"),
        ("analyse a.json --annotations c --output d SEED 1", "unexpected argument: SEED"),
        ("data prepare isiad in", "unknown value 'isiad'; did you mean isaid?"),
        ("train --strict --skip-bad", "argument --skip-bad: not allowed with argument --strict"),
    ],
)
def test_wrong_arguments_are_one_line_that_names_the_nearest(insight, words, said):
    done = insight(words)
    assert (done.code, done.out) == (2, "") and done.err.startswith(f"error: {said}"), done
    assert len(done.err.splitlines()) == 1


def parsed(*words):
    return cli.build_parser().parse(words)


def test_config_overrides_follow_anything():
    pairs = ["SOLVER.MAX_ITER", "2", "OUTPUT_DIR", "out"]
    for words in (
        ["--config-file", "a.yaml", *pairs],
        ["--config-file", "a.yaml", "--num-gpus", "1", *pairs],
        [*pairs, "--config-file", "a.yaml"],
        [*pairs[:2], "--config-file", "a.yaml", *pairs[2:]],
    ):
        args = parsed("train", *words)
        assert args.config_file == ["a.yaml"] and sorted(args.opts) == sorted(pairs), words
    args = parsed("train", "--config-file", "nwpu_light", "lpm", "gpm", *pairs, "--resume")
    assert args.config_file == ["nwpu_light", "lpm", "gpm"] and args.opts == pairs and args.resume
    args = parsed("predict", "a.png", "b.png", *pairs, "--config-file", "c", "--output", "o", "SEED", "-1")
    assert args.images == ["a.png", "b.png"] and args.opts == [*pairs, "SEED", "-1"]
    args = parsed("predict", "a.png", "--output", "o", "b.png", "--config-file", "c", "SOLVER.BASE_LR", "-1e-3")
    assert args.images == ["a.png", "b.png"] and args.opts == ["SOLVER.BASE_LR", "-1e-3"]
    args = parsed("data", "show", *pairs)
    assert args.dataset is None and args.opts == pairs
    args = parsed("data", "show", "mine", *pairs)
    assert args.dataset == "mine" and args.opts == pairs


def test_a_file_is_no_config_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SEED").touch()
    assert parsed("predict", "SEED", "--config-file", "c", "--output", "o").images == ["SEED"]


def test_options_replace_overrides(monkeypatch):
    from insight.cli.options import overrides_of

    args = parsed("train", "--weights", "w.pth", "--skip-bad", "--device", "cpu", "MODEL.WEIGHTS", "other")
    assert overrides_of(args)[2:] == ["MODEL.WEIGHTS", "w.pth", "MODEL.DEVICE", "cpu", "DATASETS.BAD", "skip"]


def test_evaluate_is_eval_only(monkeypatch):
    jobs = []
    monkeypatch.setattr(
        import_module("insight.engine.launch"), "launch", lambda work, job, *args, **options: jobs.append(job)
    )
    for words in (["evaluate"], ["train", "--eval-only"]):
        words += ["--config-file", "nwpu_light", "--resume", "SEED", "1"]
        args = parsed(*words)
        args.run(args)
    assert [(job.evaluation, job.resume, job.args.opts) for job in jobs] == [(True, True, ["SEED", "1"])] * 2


@pytest.mark.parametrize(
    "tool, command",
    [
        ("train_net", "train"),
        ("predict", "predict"),
        ("annotate", "annotate"),
        ("visualize_data", "data show"),
        ("analyse", "analyse"),
        ("demo", "demo"),
        ("plot_training", "plot"),
    ],
)
def test_a_tool_is_a_command(tool, command):
    text = (ROOT / "tools" / f"{tool}.py").read_text()
    assert f"main([{', '.join(repr(word) for word in command.split())}, *sys.argv[1:]])".replace("'", '"') in text


def test_a_fresh_process_says_nothing_but_the_error():
    """Warnings of Detectron2's import do not stand beside it."""
    command = [sys.executable, "-m", "insight", "train", "--config-file", "nwpu_ligt"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: nwpu_ligt: no such shipped config; the nearest: nwpu_light")
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_python_m_insight_is_the_command():
    done = subprocess.run([sys.executable, "-m", "insight", "trian"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith("error: unknown command 'trian'")
    done = subprocess.run([sys.executable, ROOT / "tools/predict.py"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "see insight predict --help" in done.stderr


def test_benchmarks_get_their_arguments(insight, monkeypatch):
    called = []
    monkeypatch.setattr("subprocess.call", lambda command: called.append(command) or 3)
    assert insight("bench", "--only", "area_loss", "--quick").code == 3
    assert called == [[sys.executable, str(ROOT / "benchmarks" / "run.py"), "--only", "area_loss", "--quick"]]


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "a.png", "--config-file", "a.yaml"],
        ["compare", "--runs", "a=b"],
        ["annotate", "boxes"],
        ["analyse", "p.json", "--annotations", "a.json"],
        ["data show"],
        ["data prepare", "isaid", "a"],
        ["data foreground", "a.json"],
        ["demo"],
        ["plot", "run"],
        ["measure missed", "--config-file", "a.yaml"],
        ["measure jitter", "--config-file", "a.yaml"],
        ["measure prompt-use", "--config-file", "a.yaml"],
        ["measure proposals", "--config-file", "a.yaml"],
        ["table", "a.yaml"],
    ],
)
def test_every_command_looks_at_its_output_before_its_work(insight, words):
    done = insight(*words, "--output", "")
    assert done.code == 2 and done.err.startswith("error: --output: expected the name of a ")
    assert len(done.err.splitlines()) == 1


OUTPUT = ["--output", "@OUT"]
TABLE = "title: T\nrows: [{name: a, config: a.yaml}]\ncolumns: {AP: a_val/segm/AP}\n"
MODEL = ["--config-file", "@CONFIG"]


@pytest.mark.parametrize(
    "words, said",
    [
        (["train", "--config-file", "absent.yaml"], "absent.yaml"),
        (["train", "--config-file", "@WORDS"], "@WORDS"),
        (["train", *MODEL, "SOLVER.MAX_ITER"], "SOLVER.MAX_ITER"),
        (["train", *MODEL, "SOLVER.NOPE", "1"], "SOLVER.NOPE"),
        (["train", *MODEL, "--device", "tpu"], "--device: expected cpu, cuda or cuda:N, got tpu"),
        (["train", *MODEL, "--num-gpus", "0"], "--num-gpus: expected an integer from 1, got 0"),
        (["train", *MODEL, "--num-gpus", "x"], "argument --num-gpus: expected an integer from 1, got x"),
        (["train", *MODEL, "--num-processes", "0"], "--num-processes: expected an integer from 1, got 0"),
        (["train", *MODEL, "OUTPUT_DIR", "@WORDS"], "OUTPUT_DIR: expected @WORDS to be a folder"),
        (["evaluate", *MODEL, "--weights", "absent.pth"], "absent.pth"),
        (["evaluate", *MODEL], "MODEL.WEIGHTS"),
        (["evaluate", *MODEL, "DATASETS.TEST", "('nope',)"], "DATASETS.TEST"),
        (["predict", "absent.png", *MODEL, *OUTPUT], "absent.png"),
        (["predict", "@IMAGES", *MODEL, *OUTPUT, "--score-threshold", "2"], "score"),
        (["predict", "@IMAGES", *MODEL, *OUTPUT, "--boxes", "1,2"], "1,2"),
        (
            ["predict", "@IMAGES", *MODEL, *OUTPUT, "--boxes", "1,2,9,9", "--boxes-json", "b"],
            "--boxes-json: not allowed",
        ),
        (["predict", "@IMAGES", *MODEL, *OUTPUT, "--boxes-json", "@WORDS"], "@WORDS"),
        (["predict", "@IMAGES", *MODEL, *OUTPUT, "--correct-boxes", "1"], "--correct-boxes: expected boxes"),
        (["predict", "@IMAGES", *MODEL, *OUTPUT, "--weights", "@WORDS"], "@WORDS"),
        (["annotate", "absent", "--weights", "w.pth", *OUTPUT], "w.pth"),
        (["annotate", "absent", "--model", "./nope", *OUTPUT], "./nope: no such model folder"),
        (
            ["annotate", "@TRUTH", "--weights", "@WORDS", *OUTPUT],
            "--images: expected the folder of the images of @TRUTH",
        ),
        (["annotate", "@WORDS", "--weights", "@WORDS", *OUTPUT], "@WORDS"),
        (
            ["annotate", "@TRUTH", "--weights", "@WORDS", "--input-size", "9", *OUTPUT],
            "--input-size: expected a multiple of 64 up to 1024, got 9",
        ),
        (
            ["annotate", "@TRUTH", "--weights", "@WORDS", "--min-score", "nan", *OUTPUT],
            "--min-score: expected a number",
        ),
        (["annotate", "@TRUTH", "--review", "absent.csv", *OUTPUT], "absent.csv"),
        (["data check", "nope"], "NAME: unknown dataset 'nope'"),
        (["data check", "nope", "--config-file", "absent.yaml"], "absent.yaml"),
        (["data statistics", "nope"], "NAME: unknown dataset 'nope'"),
        (["data show", "nope", *OUTPUT], "NAME: unknown dataset 'nope'"),
        (["data show", "nope", "--count", "x"], "--count: expected an integer from 0, got x"),
        (["data foreground", "absent.json", *OUTPUT], "absent.json"),
        (["data foreground", "@WORDS", *OUTPUT], "@WORDS"),
        (["data prepare", "isaid", "absent", *OUTPUT], "absent"),
        (["data prepare", "isaid", "@IMAGES"], "--output: expected the name of a folder"),
        (["data prepare", "sat_mtb", "@IMAGES", *OUTPUT], "--output: sat_mtb is prepared in its own folder"),
        (["table", "absent.yaml", *OUTPUT], "absent.yaml"),
        (["table", "@WORDS", *OUTPUT], "@WORDS"),
        (["table", "@TABLE", *OUTPUT, "--seeds", "1,b"], "--seeds: expected integers"),
        (["table", "iai_2", "--setup", "nwpu", *OUTPUT, "--num-gpus", "99"], "--num-gpus: expected at most"),
        (["analyse", "absent.json", "--annotations", "@TRUTH", *OUTPUT], "absent.json"),
        (["analyse", "@WORDS", "--annotations", "@TRUTH", *OUTPUT], "@WORDS"),
        (["analyse", "@WORDS", "--annotations", "@WORDS", *OUTPUT], "@WORDS"),
        (["analyse", "@WORDS", "--annotations", "@TRUTH", "--images", "absent", *OUTPUT], "--images: absent: no such"),
        (["analyse", "@WORDS", "--annotations", "@TRUTH", "--classes", "nope", *OUTPUT], "nope"),
        (
            ["analyse", "@WORDS", "--annotations", "@TRUTH", "--max-dets", "9" * 30, *OUTPUT],
            "--max-dets: expected an integer",
        ),
        (["compare", "--runs", "ours", *OUTPUT], "--runs: expected NAME=DIR or NAME=CONFIG,WEIGHTS, got 'ours'"),
        (["compare", "--runs", "ours=absent", *OUTPUT], "absent"),
        (
            ["compare", "--runs", "ours=@CONFIG", "--dataset", "nope", *OUTPUT],
            "--dataset: unknown dataset 'nope'",
        ),
        (["compare", "--runs", "ours=@CONFIG", "--worst", "0", *OUTPUT], "--worst: expected an integer from 1"),
        (["compare", "--runs", "ours=@CONFIG", "--images", "nope", *OUTPUT], "--images: nope: no such image"),
        (["measure missed", "--config-file", "absent.yaml", *OUTPUT], "absent.yaml"),
        (
            ["measure missed", *MODEL, *OUTPUT, "DATASETS.TEST", "()"],
            "DATASETS.TEST: expected the name of at least",
        ),
        (
            ["measure jitter", *MODEL, *OUTPUT, "--noise", "0.7"],
            "--noise: expected numbers from 0 to below 0.5",
        ),
        (["measure jitter", *MODEL, *OUTPUT, "--noise", "x"], "argument --noise: invalid float value: 'x'"),
        (["measure prompt-use", *MODEL, *OUTPUT, "DATASETS.TEST", "('nope',)"], "DATASETS.TEST: unknown dataset"),
        (["plot", "absent", *OUTPUT], "absent/metrics.json: no such file"),
        (["plot", "@IMAGES", "--output", "@IMAGES"], "--output: expected a file to write, but @IMAGES is a folder"),
        (["plot", "@RUN", *OUTPUT], "@RUN/metrics.json, line 2: expected a JSON object"),
        (["demo", "--train", "--config-file", "absent.yaml", *OUTPUT], "absent.yaml"),
        (["demo", "--output", "@WORDS"], "--output: expected @WORDS to be a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_code_2(insight, project, tmp_path, words, said):
    (tmp_path / "words").write_text("just words")
    (tmp_path / "table.yaml").write_text(TABLE)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.json").write_text('{"iteration": 1, "total_loss": 1}\n[1]\n')
    places = {
        "@CONFIG": project / "config.yaml",
        "@IMAGES": project / "rectangles" / "images",
        "@TRUTH": project / "rectangles" / "instances.json",
        "@WORDS": tmp_path / "words",
        "@TABLE": tmp_path / "table.yaml",
        "@RUN": tmp_path / "run",
        "@OUT": tmp_path / "out",
    }

    def filled(text):
        return re.sub("@[A-Z]+", lambda match: str(places[match[0]]), text)

    before = sorted(tmp_path.rglob("*"))
    done = insight(words[0], *map(filled, words[1:]))
    assert done.code == 2, done
    errors = [line for line in done.err.splitlines() if line.strip()]
    assert len(errors) == 1 and errors[0].startswith("error: ") and filled(said) in errors[0], done.err
    assert len(errors[0]) < 1000
    if words[0] not in ("train", "evaluate"):  # those write to OUTPUT_DIR, of the config
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        ("predict", "predict a.png --output found", "; run the same command to resume"),
        ("annotate", "annotate dota --output masks", "; run the same command to resume"),
        ("table", "table iai_2", "; run the same command to resume"),
        ("measure.gain", "measure gain mine --output gain", "; run the same command to resume"),
        ("data.prepare", "data prepare isaid iSAID --output out", "; run the same command to resume"),
        ("train", "train --resume", "; run it with --resume to continue from the last checkpoint, if there is one"),
        ("train", "train --dry-run", ""),
        ("train", "train --eval-only", ""),
        ("plot", "plot output --output plots", ""),
    ],
)
def test_an_interrupted_command_says_how_to_resume(insight, monkeypatch, module, words, said):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module(f"insight.cli.{module}"), "run", interrupt)
    done = insight(*words.split())
    assert (done.code, done.err) == (130, f"interrupted{said}\n")
