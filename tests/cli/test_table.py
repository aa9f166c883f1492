import json
import signal
import sys

import pytest
import yaml
from helpers.waiting import wait_until

from insight.runtime.locks import locked
from insight.tables import sweep


@pytest.fixture
def table(project, tmp_path):
    """A table of two rows of the tiny prompt model, two iterations each; the second is of another learning rate."""
    config = str(project / "config.yaml")
    description = {
        "title": "Tiny",
        "rows": [
            {"name": "baseline", "config": config},
            {"name": "faster", "config": config, "options": {"SOLVER.BASE_LR": 0.01}},
        ],
        "columns": {"mask AP": "tool_rectangles/segm/AP", "parameters": "parameters"},
    }
    path = tmp_path / "tiny_table.yaml"
    path.write_text(yaml.safe_dump(description, sort_keys=False))
    return path


OVERRIDES = ["SOLVER.MAX_ITER", "2", "DATALOADER.NUM_WORKERS", "0"]


def test_help(insight):
    done = insight("table", "--help")
    assert done.code == 0 and "--seeds" in done.out


@pytest.mark.parametrize(
    "change, arguments, said",
    [
        ("title", [], "expected the key title, which is missing"),
        (None, ["--num-gpus", "-1"], "--num-gpus: expected an integer from 1, got -1"),
        (None, ["--num-gpus", "99"], "--num-gpus: expected at most "),
        (None, ["--seeds", "1,x"], "--seeds: expected integers, as in 1,2, got '1,x'"),
        (None, ["--seeds", ""], "--seeds: expected integers, as in 1,2, got ''"),
        (None, ["--seeds", "4294967296"], "row 'baseline': SEED: expected below 2^32"),
        (None, ["SOLVER.MAX", "1"], "row 'baseline': overrides: unknown config key SOLVER.MAX;"),
        (
            None,
            ["DATASETS.TEST", "('elsewhere',)"],
            "needs tool_rectangles, but row 'baseline' is evaluated on elsewhere",
        ),
        (None, ["DATASETS.TRAIN", "('elsewhere',)"], "row 'baseline': DATASETS.TRAIN: unknown dataset 'else"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(insight, table, tmp_path, change, arguments, said):
    if change:
        table.write_text(table.read_text().replace(f"{change}: Tiny\n", ""))
    done = insight("table", table, "--output", tmp_path / "out", *arguments)
    assert done.code == 2
    (error,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert said in error and not (tmp_path / "out" / "runs").exists()


def test_options_may_stand_before_and_after_the_file(insight, table, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(sweep, "execute", lambda job, bar, lock: seen.append(job.command) or "stopped")
    done = insight("table", table, "--output", tmp_path / "out", "--seeds", "3", *OVERRIDES)
    assert done.code == 1
    runs = tmp_path / "out" / "runs" / table_folder(table)
    assert [line for line in done.err.splitlines() if line.startswith("error: ")] == [
        f"error: baseline, seed 3: stopped ({runs}/config-seed3/output.txt)",
        f"error: faster, seed 3: stopped ({runs}/config-SOLVER.BASE_LR_0.01-seed3/output.txt)",
    ]
    assert "SOLVER.MAX_ITER 2" in " ".join(seen[0]) and "| baseline | - |" in done.out
    assert sorted(p.name for p in (tmp_path / "out").glob("tiny_table.*")) == [
        "tiny_table.json", "tiny_table.md",
    ]  # fmt: skip


def table_folder(table):
    config = yaml.safe_load(table.read_text())["rows"][0]["config"]
    return config.split("/")[-2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there a command outlives one that was killed")
def test_a_killed_sweep_goes_on_and_repeats_nothing(commands, table, tmp_path):
    output = tmp_path / "out"
    runs = output / "runs" / table_folder(table)
    first, second = runs / "config-seed1", runs / "config-SOLVER.BASE_LR_0.01-seed1"
    words = ["table", table, "--output", output, *OVERRIDES]
    killed = commands.start(words)
    wait_until(lambda: (second / "config.yaml").exists() or not killed.running, 300)  # the second run has begun
    killed.signal(signal.SIGKILL, group=False)
    assert killed.wait(60) and killed.code is None, killed.output.read_text()
    with locked(second / ".table.lock", 60):  # the training that it had begun has followed it
        pass
    ended = (first / "results.json").stat().st_mtime_ns
    assert not (second / "results.json").exists()
    assert "| baseline | " in (output / "tiny_table.md").read_text()

    again = commands.run(words, 500)
    assert again.code == 0, again.output.read_text()
    assert "1 of 2 runs are complete, 1 to do" in again.output.read_text()
    assert (first / "results.json").stat().st_mtime_ns == ended
    content = json.loads((output / "tiny_table.json").read_text())
    assert [len(row["runs"]) for row in content["rows"]] == [1, 1]
    assert content["rows"][1]["cells"]["mask AP"]["gain"] is not None
    assert (output / "tiny_table.png").exists()
