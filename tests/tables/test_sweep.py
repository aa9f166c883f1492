"""Doing the runs that are lacking: none twice, on after a kill, no run of another config in silence."""

import sys

import portalocker
import pytest

from insight.engine.results import write_results
from insight.runtime.progress import Progress
from insight.tables import sweep
from insight.tables.runs import plan_runs


@pytest.fixture
def runs(description, read, tmp_path):
    return plan_runs(read(description), tmp_path / "runs")


@pytest.fixture
def executed(monkeypatch, runs, finish):
    """Jobs are recorded and finished at once, unless `executed.stop` says what to raise or return for one."""

    class Executed(list):
        stop = {}

    jobs = Executed()

    def execute(job, bar, lock):
        jobs.append(job.label)
        happens = jobs.stop.get(job.label)
        if isinstance(happens, BaseException):
            raise happens
        if happens is None:
            run = next(run for run in runs if run.folder == job.folder)
            if job.log.name == sweep.OUTPUT:
                finish(run)
            else:
                write_results(job.log.with_suffix(".json"), {"small_val": {"missed": {"AP": 1.0}}})
        return happens

    monkeypatch.setattr(sweep, "execute", execute)
    return jobs


ALL = ["baseline, seed 1", "faster, seed 1", "baseline, seed 2", "faster, seed 2"]


def test_every_run_is_done_once(runs, executed):
    written = []
    assert sweep.do_runs(runs, lambda: written.append(len(executed))) == {}
    assert executed == ALL and written == [1, 2, 3, 4]
    assert sweep.do_runs(runs, written.clear) == {}
    assert executed == ALL and written == [1, 2, 3, 4]  # nothing was done again


def test_a_sweep_that_was_killed_goes_on(runs, executed):
    executed.stop["faster, seed 1"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        sweep.do_runs(runs, lambda: None)
    assert executed == ALL[:2]
    executed.clear()
    executed.stop.clear()
    assert sweep.do_runs(runs, lambda: None) == {}
    assert executed == ALL[1:]


def test_a_run_that_fails_does_not_stop_the_others(runs, executed):
    executed.stop["faster, seed 1"] = "the disk is full"
    failures = sweep.do_runs(runs, lambda: None)
    assert executed == ALL
    assert list(failures) == ["faster, seed 1"]
    assert failures["faster, seed 1"].startswith("the disk is full (") and "output.txt" in failures["faster, seed 1"]


def test_a_changed_config_is_refused_before_anything_runs(runs, executed, finish, read, description, tmp_path):
    finish(runs[2])
    longer = plan_runs(read(description), tmp_path / "runs", ["SOLVER.MAX_ITER", "9"])
    with pytest.raises(ValueError, match=r"tiny-seed2: holds a run of another config \(SOLVER.MAX_ITER was 8, now 9\)"):
        sweep.do_runs(longer, lambda: None)
    assert executed == []


def test_what_another_process_works_on_is_left_to_it(runs, executed):
    runs[0].folder.mkdir(parents=True)
    with portalocker.Lock(runs[0].folder / ".table.lock", timeout=0):
        failures = sweep.do_runs(runs, lambda: None)
    assert executed == ALL[1:] and "another process is working on it" in failures["baseline, seed 1"]


def test_steps_follow_the_training(description, read, tmp_path, executed, runs):
    description["columns"]["after"] = "small_val/missed/AP"
    runs[:] = plan_runs(read(description), tmp_path / "runs")[:1]
    assert sweep.do_runs(runs, lambda: None) == {}
    assert executed == ["baseline, seed 1", "baseline, seed 1: measure missed"]
    assert sweep.next_job(runs[0]) is None


def test_the_commands(description, read, tmp_path, finish):
    description["rows"][0]["config"] = ["tiny.yaml", "cascade"]
    description["rows"][1]["eval_only"] = True
    description["columns"]["after"] = "small_val/missed/AP"
    first, second = plan_runs(read(description), tmp_path / "runs")[:2]
    job = sweep.next_job(first, num_gpus=4)
    insight = [sys.executable, "-P", "-m", "insight"]
    configs = ["--config-file", str(tmp_path / "tiny.yaml"), "cascade"]
    assert job.command[: len(insight) + 7] == [*insight, "train", "--resume", *configs, "--num-gpus", "4"]
    assert job.command[len(insight) + 7 :] == list(first.overrides) and job.iterations == 8
    job = sweep.next_job(second)
    assert job.command[len(insight)] == "evaluate" and "--resume" not in job.command and job.iterations == 0
    finish(first)
    finish(second)
    weights = ["--weights", f"{first.folder}/model_final.pth"]
    arguments = ["--config-file", f"{first.folder}/config.yaml", "--output", f"{first.folder}/missed.json"]
    assert sweep.next_job(first).command == [*insight, "measure", "missed", *arguments, *weights]
    assert "--weights" not in sweep.next_job(second).command


def job_of(tmp_path, program, iterations=0):
    return sweep.Job("job", [sys.executable, "-c", program], tmp_path / "output.txt", tmp_path, iterations)


def test_progress_counts_iterations_and_what_was_done_before_as_no_speed(tmp_path):
    (tmp_path / "metrics.json").write_text('{"iteration": 2}\n{"iteration": 3')
    program = f"open({str(tmp_path / 'metrics.json')!r}, 'a').write('\\n{{\"iteration\": 5}}\\n'); print('hello')"
    with Progress(10) as bar:
        assert sweep.execute(job_of(tmp_path, program, 10), bar, 0) is None
        assert (bar.done, bar.skipped) == (10, 3)
    assert (tmp_path / "output.txt").read_text() == "hello\n"


@pytest.mark.parametrize(
    "program, reason",
    [
        ("import sys; print('error: no such file'); print('later'); sys.exit(2)", "no such file"),
        ("print('words'); raise RuntimeError('broken')", "RuntimeError: broken"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
    ],
)
def test_a_failure_says_why(tmp_path, program, reason):
    with Progress(1) as bar:
        assert sweep.execute(job_of(tmp_path, program), bar, 0) == reason
