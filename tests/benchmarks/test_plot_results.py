"""The plot of the kernels' speed: which ratio a bar shows, what is drawn, and that the committed picture is current."""

import numpy as np
import plot_results
import pytest
import report
from harness import OURS, Measurement, Outcome
from matplotlib.figure import Figure
from PIL import Image


def write(path, date, *outcomes, threads=2):
    machine = {"date": date, "cpu": "a CPU", "threads": threads, "torch": "2.14.1+cu130"}
    report.save(path, machine, outcomes)
    return path


def outcome(benchmark, case, error="", **ratios):
    contenders = {name: Measurement(1.0, None, ratio) for name, ratio in {OURS: 1.0, **ratios}.items()}
    return Outcome(benchmark, case, {} if error else contenders, "", error)


def test_a_bar_is_the_quickest_pytorch_rival_of_the_newest_file(tmp_path):
    new = write(
        tmp_path / "a.json",
        "2026-11-22",
        outcome("crop_resize", "small", roi_align=9.0, grid_sample=2.5, twin=0.5),
        outcome("crop_resize", "layouts", contiguous=1.1),
        outcome("detector", "light", interpolate=0.9),
        outcome("area_loss", "fails", error="RuntimeError: no"),
    )
    old = write(
        tmp_path / "b.json",
        "2026-11-21",
        outcome("crop_resize", "small", grid_sample=1.2),
        outcome("global_to_local_attention", "wide", sdpa=1.5, eager=8.0),
    )
    bars, machine = plot_results.quickest_rivals([new, old])
    assert [(bar.kernel, bar.case, bar.rival, bar.ratio) for bar in bars] == [
        ("crop_resize", "small", "grid_sample", 2.5),
        ("global_to_local_attention", "wide", "sdpa", 1.5),
    ]
    assert machine == "a CPU, 2 threads, torch 2.14.1"


def test_every_bar_ends_at_its_ratio_and_says_so():
    figure = Figure()
    plot_results.draw(figure, [plot_results.Bar("area_loss", "2 x 3", "sdpa", 0.5)], "here")
    plot_results.draw(figure, [plot_results.Bar("crop_resize", "8 -> 4^2", "roi_align", 25.9)], "here")
    slower, faster = figure.axes
    assert [(p.get_x(), p.get_x() + p.get_width()) for p in slower.patches] == [(1, 0.5)]
    assert [p.get_x() + p.get_width() for p in faster.patches] == [pytest.approx(25.9)]
    assert [t.get_text() for t in slower.texts + faster.texts] == ["0.5×  SDPA", "26×  roi_align"]
    assert [t.get_text() for t in faster.get_yticklabels()] == ["crop_resize", "8 → 4²"]
    assert slower.get_xlim()[0] < 0.5 and faster.get_xlim()[1] > 25.9


def test_the_same_files_give_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        assert plot_results.main(["--output", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_committed_picture_is_current(tmp_path):
    assert plot_results.main(["--output", str(tmp_path / "now.png")]) == 0
    now = Image.open(tmp_path / "now.png")
    committed = Image.open(plot_results.RESULTS.parents[1] / "docs/images/speed.png")
    if now.info["Software"] != committed.info["Software"]:
        pytest.skip(f"the committed picture is of {committed.info['Software']}, whose letters may differ by a pixel")
    assert np.array_equal(np.asarray(now), np.asarray(committed))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "x.json"),
        (None, "x.json"),
        ('{"machine": {"date": "x"}, "outcomes": []}', "no case of crop_resize"),
    ],
)
def test_files_without_results_are_named(tmp_path, capsys, content, message):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    assert plot_results.main([str(path), "--output", str(tmp_path / "plot.png")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "plot.png").exists()
