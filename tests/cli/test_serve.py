"""`insight serve`: what it hands to the server."""

import sys

import pytest

pytest.importorskip("fastapi")
from insight.cli.main import main
from insight.serving import running


@pytest.fixture
def started(monkeypatch):
    """The settings of the servers that were started."""
    given = []
    monkeypatch.setattr(running, "serve", given.append)
    return given


def test_options_become_settings(started, tmp_path, monkeypatch):
    monkeypatch.setenv("INSIGHT_TOKEN", "a-token-of-the-environment")
    words = [
        "serve",
        str(tmp_path),
        "--model",
        "a",
        "--model",
        "b",
        "--port",
        "9000",
        "--max-upload",
        "3",
        "--timeout",
        "7",
    ]
    assert main([*words, "--results", "masks", "--allow-url", "https://host/path"]) == 0
    (settings,) = started
    assert (settings.models, settings.port, settings.token) == (["a", "b"], 9000, "a-token-of-the-environment")
    assert (settings.limits.upload_bytes, settings.limits.seconds, settings.limits.queue) == (3 << 20, 7, 64)
    assert (str(settings.results), settings.allowed_urls) == ("masks", ["https://host/path"])


def test_other_hosts_need_a_token(started, capsys):
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "--host" in capsys.readouterr().err
    assert main(["serve", "--host", "0.0.0.0", "--token"]) == 0
    assert len(started[0].token) > 20


def test_a_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "insight.serving.running")
    assert main(["serve"]) == 2
    assert "insight-seg[serve]" in capsys.readouterr().err
