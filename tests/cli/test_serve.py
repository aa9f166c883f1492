"""`insight serve`: what it hands to the server."""

import sys

import pytest

pytest.importorskip("fastapi")
from insight.cli.main import main
from insight.serving import running


@pytest.fixture
def started(monkeypatch):
    """The settings of the servers that were started, and whether they print their token."""
    given = []
    monkeypatch.setattr(running, "serve", lambda settings, show_token: given.append((settings, show_token)))
    return given


def test_options_become_settings(started, tmp_path, monkeypatch):
    monkeypatch.setenv("INSIGHT_TOKEN", "a-token-of-the-environment")
    words = [
        "serve",
        str(tmp_path),
        "--model",
        "scenes-light",
        "--model",
        "sopseg-vit-t",
        "--port",
        "9000",
        "--max-upload",
        "3",
        "--timeout",
        "7",
    ]
    assert main([*words, "--results", "masks", "--allow-url", "https://host/path"]) == 0
    ((settings, show_token),) = started
    assert not show_token
    assert settings.models == ["scenes-light", "sopseg-vit-t"]
    assert (settings.port, settings.token) == (9000, "a-token-of-the-environment")
    assert (settings.limits.upload_bytes, settings.limits.seconds, settings.limits.queue) == (3 << 20, 7, 64)
    assert (str(settings.results), settings.allowed_urls) == ("masks", ["https://host/path"])


def test_other_hosts_need_a_token(started, capsys):
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "--host" in capsys.readouterr().err
    assert main(["serve", "--host", "0.0.0.0", "--token"]) == 0
    ((settings, show_token),) = started
    assert len(settings.token) > 20 and show_token


@pytest.mark.parametrize("words", [["serve", "--results"], ["annotate", "--ui", "--output"]])
def test_results_that_cannot_be_written_are_reported_at_the_start(started, tmp_path, capsys, words):
    (tmp_path / "file").touch()
    (tmp_path / "images").mkdir()
    option = words[-1]
    assert main([*words, str(tmp_path / "file"), str(tmp_path / "images")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {option}: expected {tmp_path}/file to be a folder, but ")


def test_a_database_that_cannot_be_written_is_reported_at_the_start(started, tmp_path, capsys):
    assert main(["serve", str(tmp_path), "--store", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: --store: expected a file to write, but ")


@pytest.mark.parametrize("words, named", [(["serve"], "serve"), (["annotate", "--ui", "."], "--ui")])
def test_a_missing_package_is_named(words, named, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "insight.serving.running", raising=False)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said == f"error: {named}: uvicorn is not installed; run `pip install 'insight-seg[serve]'`\n"
