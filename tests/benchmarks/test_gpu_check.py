"""gpu_check without a GPU: its plan, its runner with parts that pass, fail, hang and crash, its readers and reports."""

import json
import os
import sys
import time
from pathlib import Path

import gpu_check
import gpu_parts
import pytest
import torch
from gpu_check import FAILED, PASSED, PLANNED, TIMED_OUT, Outcome, Part, PartError
from harness import Case, Effort, Work

CPU = torch.device("cpu")


def part(name, program, read=gpu_check.read_json, seconds=60.0, environment=()):
    """A part that runs a Python program with the path of its result as argument."""
    return Part(
        name, f"The {name} part", seconds, lambda path: [sys.executable, "-c", program, str(path)], read, environment
    )


WRITE = "import json, sys; json.dump({'cases': []}, open(sys.argv[1], 'w'))"


def test_plan_names_every_part_and_fits_into_ten_minutes(tmp_path, capsys):
    assert gpu_check.main(["--dry-run", "--output", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    parts = {p["name"]: p for p in report["parts"]}
    assert list(parts) == ["build", "tests", "memcheck", "racecheck", "kernels", "training", "prompts"]
    assert sum(p["seconds"] for p in parts.values()) == pytest.approx(600)
    assert {p["status"] for p in parts.values()} == {PLANNED}
    assert parts["build"]["command"][1:] == ["setup.py", "--quiet", "build_ext", "--inplace"]
    assert parts["tests"]["command"][1:6] == ["-m", "pytest", "-q", "-m", "gpu"]
    assert parts["kernels"]["command"][2:] == ["kernels", str(tmp_path / "kernels.result")]
    assert {"gpu", "driver", "date", "commit", "torch", "cuda"} <= report["machine"].keys()
    text = capsys.readouterr().out
    assert text.strip() == (tmp_path / "report.md").read_text().strip()
    assert text.startswith("# GPU check: plan\n") and "| kernels | Operators against SDPA" in text


def test_a_dry_run_of_some_parts_with_other_limits(tmp_path):
    assert gpu_check.main(["--dry-run", "--only", "build,kernels", "--minutes", "4", "--output", str(tmp_path)]) == 0
    parts = json.loads((tmp_path / "report.json").read_text())["parts"]
    assert [(p["name"], p["seconds"]) for p in parts] == [("build", 150.0), ("kernels", 90.0)]


def test_sanitizers_are_found_or_the_plan_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    with pytest.raises(PartError, match=r"compute-sanitizer: not found on PATH or in .*/cuda/bin"):
        gpu_check.sanitizer("memcheck")(tmp_path / "result")
    program = tmp_path / "cuda" / "bin" / "compute-sanitizer"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    command = gpu_check.sanitizer("racecheck")(tmp_path / "result")
    assert command[:3] == [str(program), "--tool", "racecheck"] and command[-2:] == [
        "small_shapes",
        str(tmp_path / "result"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "kernel"], "--only kernel: expected some of build, tests, memcheck"),
        (["--dry-run", "--minutes", "0"], "--minutes: expected a number above 0, got 0"),
        (["--dry-run", "--output", __file__], "--output"),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        gpu_check.main(arguments)
    assert stop.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_only_the_plan_can_be_had(capsys):
    with pytest.raises(SystemExit) as stop:
        gpu_check.main([])
    assert stop.value.code == 2 and "torch finds no CUDA device; --dry-run shows" in capsys.readouterr().err


def test_parts_are_independent_of_each_other(tmp_path):
    """Whatever the parts in between do, the first and the last one pass."""
    damaged = "import sys; open(sys.argv[1], 'w').write('{')"

    def no_command(path):
        raise PartError("no such program")

    parts = [
        part("good", WRITE),
        part("error", "print('some output'); raise RuntimeError('out of luck')"),
        part("crash", f"{WRITE}; import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
        Part("absent", "No program", 60.0, no_command, gpu_check.read_json),
        Part("unknown", "A program that is not there", 60.0, lambda path: ["/no/such/program"], gpu_check.read_json),
        part("damaged", damaged),
        part("silent", "pass"),
        part("last", WRITE),
    ]
    seen = []
    outcomes = gpu_check.run_parts(parts, tmp_path, 120.0, lambda outcomes: seen.append(len(outcomes)))
    assert seen == list(range(1, 9))
    by_name = {outcome.name: outcome for outcome in outcomes}
    assert [name for name, outcome in by_name.items() if outcome.status == PASSED] == ["good", "last"]
    assert {outcome.status for name, outcome in by_name.items() if name not in ("good", "last")} == {FAILED}
    assert by_name["good"].result == {"cases": []} and by_name["good"].error == "" and by_name["good"].log == ""
    assert by_name["error"].error == "no result was written"
    assert "some output" in by_name["error"].log and "RuntimeError: out of luck" in by_name["error"].log
    assert by_name["crash"].error == "exit status -11" and by_name["crash"].result == {"cases": []}
    assert by_name["absent"].error == "no such program"
    assert "No such file" in by_name["unknown"].error
    assert by_name["damaged"].error.startswith("its result cannot be read (JSONDecodeError")
    assert by_name["silent"].error == "no result was written"
    assert all("\n" not in outcome.error for outcome in outcomes)


def test_a_part_out_of_time_is_killed_with_its_children_and_keeps_what_it_measured(tmp_path):
    program = (
        f"{WRITE}; import subprocess; child = subprocess.Popen(['sleep', '600']); "
        "print(child.pid, flush=True); child.wait()"
    )
    begin = time.monotonic()
    outcome = gpu_check.run_part(part("slow", program), tmp_path, 5.0)
    assert time.monotonic() - begin < 30
    assert outcome.status == TIMED_OUT and outcome.error == "stopped after 5 s" and outcome.result == {"cases": []}
    child = int(outcome.log)
    for _ in range(100):  # a killed process may be a zombie until its new parent waits for it
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        pytest.fail("the child of a part that was killed still runs")


def test_time_that_a_part_saves_is_left_to_the_next_ones():
    parts = [part("a", "", seconds=30.0), part("b", "", seconds=60.0), part("c", "", seconds=10.0)]
    assert gpu_check.deadlines(parts, 100.0) == pytest.approx([30.0, 90.0, 100.0])
    assert gpu_check.deadlines(parts, 200.0) == pytest.approx([60.0, 180.0, 200.0])


def test_a_part_gets_its_environment_and_finds_the_packages(tmp_path):
    program = "import os, sys, harness, insight; open(sys.argv[1], 'w').write(repr(os.environ['FLAG'])[1:-1])"
    outcome = gpu_check.run_part(part("environment", program, environment=(("FLAG", "[1]"),)), tmp_path, 60.0)
    assert outcome.status == PASSED and outcome.result == [1], outcome


def test_test_reports(tmp_path):
    path = tmp_path / "report.xml"
    with pytest.raises(PartError, match="pytest wrote no report"):
        gpu_check.read_tests(path, "")
    passed, skipped, failed = (
        f'<testcase classname="tests.a" name="{name}">{inner}</testcase>'
        for name, inner in (("passed", ""), ("skipped", "<skipped/>"), ("wrong", '<failure message="no"/>'))
    )
    path.write_text(f"<testsuites><testsuite>{passed}{skipped}{passed}</testsuite></testsuites>")
    assert gpu_check.read_tests(path, "") == {"passed": 2, "skipped": 1, "failed": []}
    path.write_text(f"<testsuites><testsuite>{skipped}</testsuite></testsuites>")
    with pytest.raises(PartError, match="no test ran"):
        gpu_check.read_tests(path, "")
    path.write_text(f"<testsuites><testsuite>{failed}{passed}</testsuite></testsuites>")
    with pytest.raises(PartError, match="1 of 2 tests failed, the first is tests.a::wrong") as caught:
        gpu_check.read_tests(path, "")
    assert caught.value.result == {"passed": 1, "skipped": 0, "failed": ["tests.a::wrong"]}


def test_sanitizer_summaries(tmp_path):
    read = gpu_check.read_sanitizer
    assert read(tmp_path, "========= ERROR SUMMARY: 0 errors\n") == {"errors": 0}
    assert read(tmp_path, "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n") == {"errors": 0}
    for text, count in (("ERROR SUMMARY: 1 error", 1), ("RACECHECK SUMMARY: 12 hazards displayed", 12)):
        with pytest.raises(PartError, match=f"reports {count} error") as caught:
            read(tmp_path, text)
        assert caught.value.result == {"errors": count}
    with pytest.raises(PartError, match="printed no summary"):
        read(tmp_path, "Segmentation fault")


def test_a_loss_that_is_not_finite_and_a_case_that_failed_do_not_pass(tmp_path):
    path = tmp_path / "result"
    path.write_text(json.dumps({"runs": [{"name": "cuda AMP", "losses": [1.0, None]}]}))
    with pytest.raises(PartError, match="cuda AMP: a loss is not finite"):
        gpu_check.read_training(path, "")
    case = {"benchmark": "crop_resize", "case": "512 boxes", "error": "'twin' disagrees with ours"}
    path.write_text(json.dumps({"cases": [case]}))
    with pytest.raises(PartError, match="crop_resize, 512 boxes: 'twin' disagrees with ours"):
        gpu_check.read_kernels(path, "")


def measurement(seconds, ratio=1.0):
    return {"seconds": seconds, "memory": 2**20, "ratio": ratio, "target": None}


def outcomes_of_a_run():
    cases = [
        {
            "benchmark": "global_to_local_attention",
            "case": "bfloat16, d = 64",
            "contenders": {"ours": measurement(2e-3), "sdpa": measurement(3e-3, 1.5)},
            "error": "",
            "copy_share": 0.125,
            "matrix_share": 0.5,
        },
        {"benchmark": "area_loss", "case": "a | b", "contenders": {}, "error": "RuntimeError: out of memory"},
    ]
    kernels = {"limits": {"copy_bandwidth": 4e12, "matrix_rates": {"bfloat16": 8e14}}, "cases": cases}
    prompts = {"cases": [{"case": "10 boxes", "contenders": {"ours": measurement(0.02)}, "error": "", "prompts": 10}]}
    training = {
        "runs": [
            {"name": "cuda float32", "losses": [3.0, 2.5, 2.25], "seconds_per_step": 0.05},
            {"name": "cuda AMP", "losses": [3.0, None], "seconds_per_step": 0.025},
            {"name": "cpu float32", "losses": [], "seconds_per_step": None},
        ]
    }
    return [
        Outcome("build", "Build", PASSED, 90.0, ["build"], {"backends": ["cpu", "cuda"], "cuda_archs": "9.0"}),
        Outcome("tests", "Tests", PASSED, 60.0, ["pytest"], {"passed": 120, "skipped": 2, "failed": []}),
        Outcome("memcheck", "Memory", FAILED, 0.0, [], {}, "compute-sanitizer: not found"),
        Outcome("kernels", "Kernels", FAILED, 80.0, ["kernels"], kernels, "area_loss: failed", "last line"),
        Outcome("training", "Training", TIMED_OUT, 120.0, ["train", "a b"], training, "stopped after 120 s", "step 4"),
        Outcome("prompts", "Prompts", PASSED, 20.0, ["prompts"], prompts),
    ]


def test_report_of_a_run(tmp_path):
    machine = {"gpu": "NVIDIA X", "driver": "580.1", "date": "2026-11-30", "commit": "abc", "cuda": None}
    gpu_check.write_report(tmp_path, machine, outcomes_of_a_run())
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["machine"] == machine and [p["status"] for p in report["parts"]].count(PASSED) == 3
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert lines[0] == "# GPU check: not passed: memcheck, kernels, training"
    for line in (
        "| gpu | NVIDIA X |",
        "| driver | 580.1 |",
        "| commit | abc |",
        "| build | Build | passed | 90 s | cpu, cuda; architectures 9.0 |",
        "| tests | Tests | passed | 60 s | 120 passed, 2 skipped |",
        "| memcheck | Memory | failed | 0 s | compute-sanitizer: not found |",
        "| training | Training | timed out | 120 s | stopped after 120 s |",
        "Limits measured here: 4.00 TB/s copy, 800.0 TFLOP/s bfloat16.",
        "| global_to_local_attention: bfloat16, d = 64 | 2.00 ms | +1.00 MiB | sdpa 1.50x | 12% | 50% |",
        "| area_loss: a \\| b | failed |  | RuntimeError: out of memory |  |  |",
        "| step | cuda float32 | cuda AMP | cpu float32 |",
        "| 1 | 3.0000 | 3.0000 |  |",
        "| 2 | 2.5000 | not finite |  |",
        "| 3 | 2.2500 |  |  |",
        "| seconds per step | 0.050 | 0.025 |  |",
        "| 10 boxes | 20.00 ms | 2.00 ms |",
        "train 'a b'",
        "step 4",
    ):
        assert line in lines, line
    assert "cuda |" not in "\n".join(lines[:12]) and "## Output of memcheck" not in lines
    assert gpu_check.markdown(machine, outcomes_of_a_run()[:2]).startswith("# GPU check: passed\n")


def test_the_report_is_written_after_each_part(tmp_path, monkeypatch, capsys):
    peek = f"{WRITE}; print(len(json.load(open(sys.argv[1].replace('second.result', 'report.json')))['parts']))"
    monkeypatch.setattr(gpu_check, "PARTS", (part("first", WRITE), part("second", peek), part("third", "1 / 0")))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_check, "describe", lambda: {"gpu": "none"})
    assert gpu_check.main(["--output", str(tmp_path)]) == 1
    assert (tmp_path / "second.log").read_text() == "1\n"
    assert [p["status"] for p in json.loads((tmp_path / "report.json").read_text())["parts"]] == [
        PASSED,
        PASSED,
        FAILED,
    ]
    assert "third      failed" in capsys.readouterr().out
    assert gpu_check.main(["--output", str(tmp_path), "--only", "first"]) == 0


def test_shares_of_the_limits():
    work = Work(traffic=1000, operations=5000, dtype=torch.bfloat16)
    row = {"contenders": {"ours": measurement(0.5)}}
    limits = {"copy_bandwidth": 4000.0, "matrix_rates": {"bfloat16": 20_000.0}}
    assert gpu_parts.shares(Case("c", None, {}, work=work), row, limits) == {"copy_share": 0.5, "matrix_share": 0.5}
    assert gpu_parts.shares(Case("c", None, {}, work=Work(1000)), row, limits) == {"copy_share": 0.5}
    assert gpu_parts.shares(Case("c", None, {}), row, limits) == {}
    assert gpu_parts.shares(Case("c", None, {}, work=work), {"contenders": {}}, limits) == {}


def test_work_of_the_benchmarks():
    import bench_crop_resize as crops
    import bench_global_to_local_attention as attention

    images = torch.zeros(1, 3, 10, 10, dtype=torch.uint8)
    boxes = torch.tensor([[0.0, 0, 4, 4], [2, 2, 5.5, 4], [2, 2, 4, 4]])
    assert crops._work(images, boxes, 2).traffic == 3 * (16 + 2 * 2 + 3 * 4 * 4)  # read once, written as float32
    local, tokens = torch.zeros(2, 3, 8), torch.zeros(1, attention.KEYS, 8)
    forward, both = attention._work(local, tokens, True), attention._work(local, tokens, False)
    assert forward.operations == 4 * 6 * 8 * attention.KEYS and both.operations == 3.5 * forward.operations
    assert forward.traffic == 4 * (2 * 48 + tokens.numel())


def test_limits_are_measured():
    limits = gpu_parts.limits(CPU, copied=2**20, side=64)
    assert limits["copy_bandwidth"] > 1e6 and limits["matrix_rates"].keys() == {"bfloat16", "float16", "float32"}
    assert all(rate > 0 for rate in limits["matrix_rates"].values())
    with pytest.raises(RuntimeError, match="no luck"):
        gpu_parts._seconds(lambda: (_ for _ in ()).throw(ValueError("no luck")), CPU)


def test_small_shapes_run_every_operator():
    saved = []
    with torch.profiler.profile() as profile:
        gpu_parts.small_shapes(saved.append, CPU)
    assert saved[0]["calls"] > 100
    called = {event.key for event in profile.key_averages()}
    for op in ("crop_resize", "global_to_local_attention", "area_loss"):
        assert {f"insight::{op}", f"insight::{op}_backward"} <= called


@pytest.mark.slow
def test_training_part(tmp_path):
    pytest.importorskip("detectron2")
    saved = {}
    gpu_parts.training(saved.update, CPU, steps=2, scenes=4)
    float32, amp, cpu = saved["runs"]
    assert [run["name"] for run in saved["runs"]] == ["cpu float32", "cpu AMP", "cpu float32"]
    assert len(float32["losses"]) == 2 and float32["losses"] == pytest.approx(cpu["losses"], rel=1e-4)
    assert amp["losses"] == pytest.approx(cpu["losses"], rel=0.05) and amp["losses"] != cpu["losses"]


def test_prompts_part_knows_how_many_prompts_a_case_has(monkeypatch):
    pytest.importorskip("detectron2")
    import bench_prompt_latency as latency

    names = [f"{model}, {count:,} boxes" for model in ("light", "r50") for count in latency.COUNTS]
    monkeypatch.setattr(latency, "cases", lambda device: (Case(name, lambda: torch.ones(1), {}) for name in names))
    monkeypatch.setattr(gpu_parts, "EFFORT", Effort(rounds=1, sample=0.0))
    saved = {}
    gpu_parts.prompts(saved.update, CPU)
    assert [f"{case['prompts']:,} boxes" for case in saved["cases"]] == [name.partition(", ")[2] for name in names]
