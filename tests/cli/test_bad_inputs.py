"""Some hundreds of bad files, each where a command reads one: one line that names the file, and nothing left behind."""

import io
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

pytest.importorskip("detectron2")

from helpers.in_process import run_insight
from helpers.workplace import INPUTS, copy_workplace, make_workplace, replace, run_on

from insight.tables import sweep

DEEP = 50_000
DIGITS = b"9" * 400  # more than a float holds
MORE_DIGITS = b"9" * 5000  # more than Python converts
BINARY = bytes(range(256)) * 4


def _truth(**changes) -> bytes:
    """A COCO file of one image with an annotation, with other values in it."""
    content = {
        "images": [{"id": 1, "file_name": "0.png", "height": 64, "width": 80}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0,
                         "segmentation": [[5, 5, 25, 5, 25, 25, 5, 25]]}],
        "categories": [{"id": 1, "name": "square"}, {"id": 2, "name": "bar"}],
    }  # fmt: skip
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            content[section][0][name] = value
        else:
            content[section] = value
    return json.dumps(content).encode()


def _png(width: int, height: int, bits: int = 8) -> bytes:
    """A PNG that says it is so large, and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def _saved(content) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


_JSON = {
    "empty": b"",
    "binary": BINARY,
    "words": b"just words",
    "half": b'{"images": [',
    "number": b"5",
    "null": b"null",
    "text": b'"text"',
    "nested lists": b"[" * DEEP,
    "nested objects": b'{"a":' * DEEP,
    "number of 5000 digits": b'{"images": [' + MORE_DIGITS + b"]}",
    "number of 400 digits": b'[{"image_id": 1, "category_id": 1, "bbox": [0, 0, ' + DIGITS + b', 5], "score": 1}]',
    "UTF-16": '{"images": []}'.encode("utf-16"),
    "a string of 15 KB": b'["' + b"x" * 15_000 + b'"]',
    "objects instead of lists": b'{"images": {}, "annotations": {}, "categories": {}}',
    "list of lists": b"[[[[]]]]",
    "list of numbers": b"[1, 2]",
}
_YAML = {
    "empty": b"",
    "binary": BINARY,
    "words": b"just words",
    "list": b"- 1\n- 2\n",
    "half": b"MODEL: [1,\n",
    "tabs": b"MODEL:\n\tMASK_ON: True\n",
    "50,000 brackets": b"a: " + b"[" * DEEP,
    "50,000 braces": b"a: " + b"{a: " * DEEP,
    "aliases": b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (c, c, c - 1, c - 1) for c in range(98, 123)),
    "alias of itself": b"a: &a [*a]\n",
    "unknown key": b"NOPE: 1\n",
    "key that is a list": b"? [1]\n: 2\n",
    "tag": b"a: !nope 5\n",
    "UTF-16": "SEED: 5\n".encode("utf-16"),
    "a line of 15 KB": b"x" * 15_000 + b": [\n",
}  # fmt: skip
_CONFIG = {  # over a sound config
    "inherits itself": b"_BASE_: config.yaml\n",
    "inherits what is absent": b"_BASE_: absent.yaml\n",
    "inherits a number": b"_BASE_: 5\n",
    "inherits a folder": b"_BASE_: .\n",
    "section that is a number": b"MODEL: 5\n",
    "400 digits": b"SEED: " + DIGITS + b"\n",
    "5000 digits": b"SEED: " + MORE_DIGITS + b"\n",
    "text for a number": b"SEED: x\n",
    "infinity for an integer": b"SEED: .inf\n",
    "datasets that are a number": b"DATASETS: {COCO: 5}\n",
    "dataset of numbers": b"DATASETS: {COCO: [[1, 2, 3]]}\n",
    "dataset without a name": b"DATASETS: {COCO: [['', a, b]]}\n",
    "dataset of one word": b"DATASETS: {COCO: [[a]]}\n",
    "dataset that is absent": b"DATASETS: {TRAIN: [nope], TEST: [nope]}\n",
    "tests that are a number": b"DATASETS: {TEST: 5, TRAIN: 5}\n",
    "device": b"MODEL: {DEVICE: tpu}\n",
    "device that is a number": b"MODEL: {DEVICE: 5}\n",
    "model": b"MODEL: {META_ARCHITECTURE: Nope}\n",
    "part for a model that ignores it": b"MODEL: {META_ARCHITECTURE: GeneralizedRCNN}\n",
    "mode": b"DATASETS: {BAD: perhaps}\n",
}
_COCO = {
    **_JSON,
    "no annotations": _truth(annotations=[]),
    "no images": _truth(images=[]),
    "no categories": _truth(categories=[]),
    "image without a name": _truth(images__file_name=None),
    "image whose name is a number": _truth(images__file_name=5),
    "image that is absent": _truth(images__file_name="absent.png"),
    "image name of 5000 characters": _truth(images__file_name="x" * 5000),
    "image name with a zero": _truth(images__file_name="a\0b.png"),
    "image of a negative size": _truth(images__width=-5),
    "image of a huge size": _truth(images__width=10**30),
    "image of another size": _truth(images__width=81),
    "category without a name": _truth(categories__name=None),
    "category id that is a list": _truth(categories__id=[1]),
    "image id that is an object": _truth(images__id={}),
    "box of texts": _truth(annotations__bbox=["a", "b", "c", "d"]),
    "box of three": _truth(annotations__bbox=[1, 2, 3]),
    "box with NaN": _truth(annotations__bbox=[float("nan")] * 4),
    "box with infinity": _truth(annotations__bbox=[0, 0, float("inf"), 5]),
    "box of 400 digits": _truth().replace(b"[5, 5, 20, 20]", b"[5, 5, " + DIGITS + b", 20]"),
    "unknown image": _truth(annotations__image_id=99),
    "unknown category": _truth(annotations__category_id=99),
    "mask that is a number": _truth(annotations__segmentation=5),
    "mask of a text": _truth(annotations__segmentation="x"),
    "ring of one number": _truth(annotations__segmentation=[[5]]),
    "ring with NaN": _truth(annotations__segmentation=[[float("nan")] * 8]),
    "RLE without a size": _truth(annotations__segmentation={"counts": "x"}),
    "RLE of a huge size": _truth(annotations__segmentation={"size": [10**9, 10**9], "counts": [10**18]}),
    "RLE of nonsense": _truth(annotations__segmentation={"size": [64, 80], "counts": "\u00ff\u00fe"}),
    "RLE of negative counts": _truth(annotations__segmentation={"size": [64, 80], "counts": [-5, 5125]}),
    "crowd that is a text": _truth(annotations__iscrowd="x"),
}
_IMAGE = {
    "empty": b"",
    "binary": BINARY,
    "words": b"just words",
    "header of a PNG": b"\x89PNG\r\n\x1a\n",
    "PNG without pixels": _png(80, 64),
    "PNG of 2 billion by 2 billion": _png(2**31 - 1, 2**31 - 1),
    "PNG of 100,000 by 100,000": _png(100_000, 100_000),
    "PNG of 16 bits": _png(80, 64, 16),
    "header of a TIFF": b"II*\0\x08\0\0\0",
    "TIFF that points at itself": b"II*\0\x08\0\0\0\x01\0\0\x01\x04\0\xff\xff\xff\xff\x08\0\0\0\x08\0\0\0",
    "header of a JPEG": b"\xff\xd8\xff\xe0",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}  # fmt: skip
_WEIGHTS = {
    "empty": b"",
    "binary": BINARY,
    "words": b"just words",
    "list": _saved([1, 2]),
    "number": _saved(5),
    "tensor": _saved(torch.zeros(3)),
    "model that is a number": _saved({"model": 5}),
    "model that is a list": _saved({"model": [torch.zeros(2)]}),
    "empty model": _saved({"model": {}}),
    "empty dictionary": _saved({}),
    "integer keys": _saved({1: torch.zeros(2)}),
    "model with integer keys": _saved({"model": {1: torch.zeros(2)}}),
    "texts": _saved({"model": {"a": "text"}}),
    "another model": _saved({"model": {"a": torch.zeros(2)}}),
    "half of a file": _saved({"model": {"a": torch.zeros(1000)}})[:2000],
    "a folder in a zip": b"PK\x05\x06" + b"\0" * 18,
}
_NAME = {
    "empty": b"",
    "binary": BINARY,
    "absent file": b"absent.pth",
    "folder": b".",
    "folder above": b"../weights.pth",
    "two lines": b"model_final.pth\nmodel_final.pth",
    "zeros": b"\0\0",
    "15 KB": b"x" * 15_000,
}
_HEADER = b"image,id,class,score,reason,decision\n"
_CSV = {
    "empty": b"",
    "binary": BINARY,
    "other columns": b"a,b\n1,2\n",
    "too few cells": _HEADER + b"0.png,1\n",
    "too many cells": _HEADER + b"0.png,1,square,0.5,,keep,more\n",
    "id that is a word": _HEADER + b"0.png,x,square,0.5,,keep\n",
    "id of 5000 digits": _HEADER + b"0.png," + MORE_DIGITS + b",square,0.5,,keep\n",
    "id twice": _HEADER + b"0.png,1,square,0.5,,keep\n" * 2,
    "score that is a word": _HEADER + b"0.png,1,square,x,,keep\n",
    "unknown reason": _HEADER + b"0.png,1,square,0.5,nope,keep\n",
    "unknown decision": _HEADER + b"0.png,1,square,0.5,,perhaps\n",
    "cell of 200 KB": _HEADER + b"x" * 200_000 + b",1,square,0.5,,keep\n",
    "UTF-16": _HEADER.decode().encode("utf-16"),
}
_DOTA = {
    "binary": BINARY,
    "words": b"just words\n",
    "three numbers": b"1 2 3 ship 0\n",
    "NaN": b"nan 5 30 5 30 20 5 20 ship 0\n",
    "infinity": b"inf 5 30 5 30 20 5 20 ship 0\n",
    "400 digits": DIGITS + b" 5 30 5 30 20 5 20 ship 0\n",
    "1e400": b"1e400 5 30 5 30 20 5 20 ship 0\n",
    "difficulty that is a word": b"5 5 30 5 30 20 5 20 ship x\n",
    "UTF-16": "5 5 30 5 30 20 5 20 ship 0\n".encode("utf-16"),
}
_SOUND_LINE = b'{"iteration": 1, "total_loss": 1.5}\n'
_LINES = {
    "empty": b"",
    "binary": BINARY,
    "list": _SOUND_LINE + b"[1]\n",
    "number": b"5\n",
    "nested": b"[" * DEEP + b"\n",
    "half": _SOUND_LINE + b'{"iteration": 2',
    "object in an object": b'{"iteration": 1, "total_loss": {"a": 1}}\n',
    "iteration that is a text": b'{"iteration": "x", "total_loss": 1}\n',
    "iteration that is true": b'{"iteration": true, "total_loss": 1}\n',
    "no iteration": b'{"total_loss": 1}\n',
    "400 digits": b'{"iteration": 1, "total_loss": ' + DIGITS + b"}\n",
    "iteration of 400 digits": b'{"iteration": ' + DIGITS + b', "total_loss": 1}\n',
    "5000 digits": b'{"iteration": 1, "total_loss": ' + MORE_DIGITS + b"}\n",
}
_JOURNAL = {
    "binary": b"\x80" + BINARY + b"\n",
    "words": b"just words\n",
    "nested": b"[" * DEEP + b"\n",
    "5000 digits": MORE_DIGITS + b"\n",
}
_RUN_CSV = {name: _CSV[name] for name in ("binary", "other columns", "too few cells", "unknown reason", "UTF-16")}
_DETECTIONS = {
    **_JSON,
    "score that is a text": b'[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "score": "x"}]',
    "NaN": b'[{"image_id": 1, "category_id": 1, "bbox": [0, 0, NaN, 5], "score": 1}]',
    "image id that is a list": b'[{"image_id": [1], "category_id": 1, "bbox": [0, 0, 5, 5], "score": 1}]',
    "RLE of nonsense": b'[{"image_id": 1, "category_id": 1, "segmentation": {"size": [64, 80], "counts": "~~"}, '
    b'"score": 1}]',
    "RLE of another size": b'[{"image_id": 1, "category_id": 1, "segmentation": {"size": [1, 2], "counts": "2"}, '
    b'"score": 1}]',
}
KINDS = {
    "yaml": _YAML, "config": _CONFIG, "json": _JSON, "coco": _COCO, "image": _IMAGE, "weights": _WEIGHTS,
    "name": _NAME, "csv": _CSV, "csv of a run": _RUN_CSV, "detections": _DETECTIONS, "text": _DOTA, "lines": _LINES,
    "journal": _JOURNAL,
}  # fmt: skip

# The command that reads a kind fastest is given all of it; the others, which share its reader, a few.
_QUICK = {
    "yaml": ("data", "statistics"), "config": ("data", "statistics"), "coco": ("data", "statistics"),
    "json": ("--boxes-json",), "detections": ("analyse",), "image": ("data", "check"), "weights": ("annotate",),
    "name": ("train",), "csv": ("--review",), "csv of a run": ("annotate",), "text": ("annotate",),
    "lines": ("plot",), "journal": ("annotate",),
}  # fmt: skip
_FEW = 4


# What a command has no need to look at.
_HARMLESS = {
    ("data statistics", "no annotations"), ("data show", "no annotations"),
    ("data statistics", "image of another size"), ("analyse", "image of another size"),
    ("data foreground", "image that is absent"), ("data foreground", "image name of 5000 characters"),
    ("data foreground", "image name with a zero"), ("data foreground", "image of another size"),
    *((command, "device") for command in ("evaluate", "predict", "measure")),  # which are given --device
}  # fmt: skip


def _tries():
    for number, one in enumerate(INPUTS):
        kinds = [one.kind, "config"] if one.path == "config.yaml" else [one.kind]
        for kind in kinds:
            quick = all(word in one.words for word in _QUICK[kind])
            names = list(KINDS[kind])
            chosen = names if quick else [names[(number * _FEW + k) % len(names)] for k in range(_FEW)]
            command = " ".join(one.words[: 2 if one.words[0] == "data" else 1])
            for name in (name for name in chosen if (command, name) not in _HARMLESS):
                yield pytest.param(one, kind, name, id=f"{number} {' '.join(one.words[:2])} {one.path} {name}")


TRIES = list(_tries())


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """Sound inputs of all commands, to be copied."""
    return make_workplace(tmp_path_factory.mktemp("workplace"))


@pytest.fixture
def place(workplace, tmp_path, monkeypatch):
    """A copy of the workplace."""
    monkeypatch.setattr(sweep, "execute", lambda job, bar, lock: "not started")
    copy_workplace(workplace, tmp_path / "place")
    return tmp_path / "place"


def what_is_wrong(done, names: Sequence[str], command: str) -> Iterator[str]:
    """What is wrong with how a command ended, in a line each. Its error must contain one of the names."""
    lines = done.errors
    if command == "data check":  # whose result this is
        lines += [line for line in done.out.splitlines() if line.startswith(("fatal: ", "wrong: "))]
    if "Traceback" in done.err:
        yield f"a traceback: {done.err.splitlines()[-2]}"
    elif done.code not in (1, 2):
        yield f"exit code {done.code}"
    elif not lines or (done.code == 2 and len(lines) > 1):
        yield f"{len(lines)} lines: {done.err}"
    elif max(map(len, lines)) > 1500:
        yield f"a line of {max(map(len, lines))} characters: {lines[0][:300]}"
    elif not any(name in line for name in names for line in lines):
        yield f"names none of {', '.join(names)}: {lines}"


def left_behind(folder: Path, before: set[Path]) -> list[str]:
    """New files that are half written, or lie neither in the output nor in a folder that the command works in."""
    found = (path.relative_to(folder) for path in set(folder.rglob("*")) - before if path.is_file())
    half = (".tmp", ".part")
    own = ("out", "place/run", "place/annotated", "place/predicted", "place/tables", "place/sat_mtb", "place/prepared")
    return sorted(str(p) for p in found if p.name.endswith(half) or not str(p).startswith(own))


@pytest.mark.slow
@pytest.mark.parametrize("one, kind, name", TRIES)
def test_a_bad_file_is_one_line_that_names_it(place, tmp_path, one, kind, name):
    content, path = KINDS[kind][name], place / one.path
    if kind == "config":
        base = b"" if b"_BASE_" in content else b"_BASE_: sound.yaml\n"
        (place / "sound.yaml").write_bytes(path.read_bytes())
        content = base + content
    replace(path, content)
    check(one, kind, place, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("one", INPUTS, ids=lambda one: f"{' '.join(one.words[:2])} {one.path}")
def test_a_folder_instead_of_a_file_is_one_line_that_names_it(place, tmp_path, one):
    path = place / one.path
    path.unlink()
    path.mkdir()
    # Where all files of a folder are read, it is that folder that lacks one.
    check(one, one.kind, place, tmp_path, [str(parent) for parent in path.parents if place in parent.parents])


def check(one, kind: str, place: Path, tmp_path: Path, names: Sequence[str] = ()) -> None:
    """Run the command of an input that is bad; its line must contain the input's name or one of these."""
    path, before = place / one.path, set(tmp_path.rglob("*"))
    done = run_on(one, place, tmp_path / "out")
    others = {"config": ("DATASETS", "SEED", "MODEL"), "coco": (f"{place}/data/images/", "x" * 99)}
    names = (path.name, *others.get(kind, ()), *names)
    command = " ".join(one.words[:2])
    problems = list(what_is_wrong(done, names, command))
    problems += [f"left behind: {name}" for name in left_behind(tmp_path, before)]
    assert not problems, "\n".join(problems)


DIGITS_30 = "9" * 30
LONG = "x" * 5000
ARGUMENTS = [
    ("train --config-file @/config.yaml MODEL.PROMPT.CROP_SIZE 1000000 OUTPUT_DIR @OUT", "not enough memory"),
    ("predict @/data/images @MODEL --output @OUT --boxes 1,1,9,9 MODEL.PROMPT.CROP_SIZE 1000000", "not enough memory"),
    (f"train --config-file @/config.yaml SEED {'9' * 400}", "SEED"),
    (f"train --config-file @/config.yaml SEED {'9' * 5000}", "SEED"),
    ("train --config-file @/config.yaml SOLVER.MAX_ITER 1e400", "SOLVER.MAX_ITER"),
    ("train --config-file @/config.yaml SOLVER.MAX_ITER " + "[" * 5000, "SOLVER.MAX_ITER"),
    ("train --config-file @/config.yaml SOLVER.MAX_ITER " + "-" * 50_000 + "1", "unknown option"),
    (f"train --config-file @/config.yaml --num-gpus {DIGITS_30}", "--num-gpus"),
    (f"train --config-file {LONG}", "x" * 99),
    (f"evaluate --config-file @/config.yaml --weights {LONG}.pth", "x" * 99),
    (f"predict {LONG}.png @MODEL --output @OUT", "x" * 99),
    (f"predict @/data/images @MODEL --output @/{LONG}", "x" * 99),
    ("predict @/data/images @MODEL --output @OUT --boxes nan,1,2,3", "--boxes"),
    ("predict @/data/images @MODEL --output @OUT --boxes 1e400,1,2,3", "--boxes"),
    ("predict @/data/images @MODEL --output @OUT --oriented-boxes 1,2,3,4,inf", "--oriented-boxes"),
    ("predict @/data/images @MODEL --output @OUT --score-threshold nan", "--score-threshold"),
    ("predict @/data/images @MODEL --output @OUT --boxes 1,1,9,9 --correct-boxes inf", "--correct-boxes"),
    (f"annotate @/dota --weights @/sam.pth --output @OUT --input-size {DIGITS_30}", "--input-size"),
    ("annotate @/dota --weights @/sam.pth --output @OUT --max-area-ratio nan", "--max-area-ratio"),
    ("annotate @/dota --weights @/sam.pth --output @OUT --prompt point", "--prompt"),
    (f"annotate @/{LONG} --weights @/sam.pth --output @OUT", "x" * 99),
    (f"analyse @/found.json --annotations @/data/instances.json --output @OUT --max-dets {DIGITS_30}", "--max-dets"),
    (f"compare --runs ours=@/run --output @OUT --worst {DIGITS_30}", "--worst"),
    (f"compare --runs ours=@/run --output @OUT --count -{DIGITS_30}", "--count"),
    (f"table @/table.yaml --output @/tables --seeds {DIGITS_30}", "SEED"),
    (f"data show --config-file @/config.yaml --output @OUT --scale {DIGITS_30}", "--scale"),
    (f"data check {LONG}", "x" * 99),
    ("measure jitter @MODEL --output @OUT/jitter.json --noise nan", "--noise"),
    ("measure missed @MODEL --output @OUT/missed.json --score-threshold -1e400", "--score-threshold"),
    ("plot @/run --output @OUT/curves.png --metrics nope", "nope"),
    (f"plot @/run --output @/{LONG}.png", "x" * 99),
]


@pytest.mark.slow
@pytest.mark.parametrize("text, said", ARGUMENTS, ids=[text[:60] for text, _ in ARGUMENTS])
def test_a_bad_argument_is_one_line_that_names_it(place, tmp_path, text, said):
    model = f"--config-file {place}/config.yaml --weights {place}/weights.pth --device cpu"
    words = text.replace("@MODEL", model).replace("@OUT", str(tmp_path / "out")).replace("@/", f"{place}/").split()
    before = set(tmp_path.rglob("*"))
    done = run_insight(*words)
    problems = list(what_is_wrong(done, (said,), " ".join(words[:2])))
    problems += [f"left behind: {name}" for name in left_behind(tmp_path, before)]
    assert not problems, "\n".join(problems)


@pytest.mark.slow
def test_a_table_that_needs_a_key_that_there_is_not_names_it(place, tmp_path):
    table = (place / "table.yaml").read_text()
    replace(place / "table.yaml", f"{table}needs: [NOPE.X]\n".encode())
    done = run_insight("table", place / "table.yaml", "--output", tmp_path / "out")
    assert not list(what_is_wrong(done, ("NOPE.X",), "table")), done


def test_there_are_some_hundreds():
    assert 300 < len(TRIES) < 800
