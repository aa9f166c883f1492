import json

import cv2
import numpy as np
import pytest

from insight.errors import InputError
from insight.visualization.curves import _moving_mean, plot_metrics, read_metrics


def write(folder, lines):
    folder.mkdir()
    (folder / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_repeated_iteration_counts_once_with_its_last_value(tmp_path):
    run = write(
        tmp_path / "run", [{"iteration": 19, "x": 3.0}, {"iteration": 39, "x": 2.0}, {"iteration": 19, "x": 4.0}]
    )
    iterations, values = read_metrics(run)["x"]
    assert iterations.tolist() == [19, 39]
    assert values.tolist() == [4.0, 2.0]


def test_curves_of_two_runs_are_drawn(tmp_path):
    runs = [
        write(tmp_path / n, [{"iteration": i, "total_loss": s / (i + 1)} for i in range(9)])
        for n, s in zip("ab", (1, 2))
    ]
    plot_metrics(runs, ["total_loss"], tmp_path / "curves.png")
    picture = cv2.imread(str(tmp_path / "curves.png"))
    colors = {tuple(c) for c in np.unique(picture.reshape(-1, 3), axis=0)}
    assert {(180, 119, 31), (14, 127, 255)} <= colors  # matplotlib's first two, as BGR


def test_no_point_is_left_out():
    values = np.array([8.0, 4.0, 0.0, 4.0])
    assert _moving_mean(values, 3).tolist() == [8, 6, 4, 8 / 3]
    assert _moving_mean(values[:2], 5).tolist() == [8, 6]


def test_runs_of_one_name_have_a_curve_each(tmp_path):
    points = [{"iteration": i, "total_loss": 1.0 / (i + 1)} for i in range(9)]
    (tmp_path / "out").mkdir()
    runs = [write(folder / "run", points) for folder in (tmp_path, tmp_path / "out")]
    plot_metrics(runs, ["total_loss"], tmp_path / "curves.png")
    plot_metrics(runs[:1], ["total_loss"], tmp_path / "one.png")
    shades = [set(map(tuple, cv2.imread(str(tmp_path / name)).reshape(-1, 3))) for name in ("curves.png", "one.png")]
    assert (14, 127, 255) in shades[0] - shades[1]  # matplotlib's second colour, as BGR


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="OUTPUT_DIR of a training run"):
        read_metrics(tmp_path)
    run = write(tmp_path / "run", [{"iteration": 1, "total_loss": 1.0}])
    with pytest.raises(ValueError, match="'segm/AP'; they have total_loss"):
        plot_metrics([run], ["segm/AP"], tmp_path / "x.png")
    for line in (
        "{broken",
        "[1]",
        "3",
        '{"total_loss": 1}',
        '{"iteration": [1]}',
        '{"iteration": 1, "x": {}}',
        "[" * 9999,
    ):
        (run / "metrics.json").write_text(line + "\n")
        with pytest.raises(InputError, match="line 1: expected a JSON object of numbers with an iteration"):
            read_metrics(run)


def test_without_names_all_losses_of_any_run_are_drawn_four_in_a_row(tmp_path):
    losses = [f"loss_{n}" for n in ("cls", "mask_1", "mask_2", "mask_4")]
    runs = [
        write(tmp_path / "a", [{"iteration": i, "total_loss": 1.0, "lr": 0.1} for i in range(3)]),
        write(tmp_path / "b", [{"iteration": i, **dict.fromkeys(losses, 2.0)} for i in range(3)]),
    ]
    plot_metrics(runs, None, tmp_path / "all.png")
    plot_metrics(runs, ["total_loss", *losses], tmp_path / "named.png")
    assert (tmp_path / "all.png").read_bytes() == (tmp_path / "named.png").read_bytes()
    plot_metrics(runs, ["total_loss"], tmp_path / "one.png")
    one, all_ = (cv2.imread(str(tmp_path / f"{name}.png")).shape for name in ("one", "all"))
    assert all_[:2] == (2 * one[0], 4 * one[1])


def test_a_run_has_its_colour_in_panels_that_others_lack(tmp_path):
    runs = [
        write(tmp_path / "a", [{"iteration": i, "total_loss": 1.0 / (i + 1)} for i in range(9)]),
        write(tmp_path / "b", [{"iteration": i, "loss_rpn_area": 2.0 / (i + 1)} for i in range(9)]),
    ]
    plot_metrics(runs, ["loss_rpn_area"], tmp_path / "area.png")
    shades = set(map(tuple, cv2.imread(str(tmp_path / "area.png")).reshape(-1, 3)))
    assert (14, 127, 255) in shades and (180, 119, 31) not in shades
