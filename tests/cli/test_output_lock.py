"""One process per output folder: the second names the first and changes nothing."""

import os

import pytest

from insight.runtime.locks import output_folder

COMMANDS = {
    "train": ["--config-file", "@CONFIG", "SOLVER.MAX_ITER", "1", "OUTPUT_DIR", "@OUT"],
    "evaluate": ["--config-file", "@CONFIG", "--weights", "@WEIGHTS", "OUTPUT_DIR", "@OUT"],
    "demo": ["--train", "--config-file", "@CONFIG", "--output", "@OUT", "SOLVER.MAX_ITER", "1"],
    "predict": ["@IMAGES", "--config-file", "@CONFIG", "--weights", "@WEIGHTS", "--output", "@OUT"],
    "compare": ["--runs", "ours=@RUN", "--output", "@OUT"],
    "analyse": ["@FOUND", "--annotations", "@TRUTH", "--output", "@OUT"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_is_written_to_is_refused(insight, project, trained, tmp_path, command):
    (tmp_path / "found.json").write_text("[]")
    places = {
        "@CONFIG": project / "config.yaml",
        "@WEIGHTS": trained / "model_final.pth",
        "@IMAGES": project / "rectangles" / "images",
        "@TRUTH": project / "rectangles" / "instances.json",
        "@RUN": trained,
        "@FOUND": tmp_path / "found.json",
        "@OUT": tmp_path / "out",
    }
    words = COMMANDS[command]
    for place, path in places.items():
        words = [word.replace(place, str(path)) for word in words]
    with output_folder(tmp_path / "out"):
        done = insight(command, *words)
        assert done.code == 2, done
        (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
        assert line.startswith(f"error: {tmp_path / 'out'}: process {os.getpid()} (")
        assert line.endswith("is writing there; wait until it has ended, or choose another folder")
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
