"""The load on a server that ends by itself."""

import asyncio
import sys

import pytest

pytest.importorskip("httpx")

import load_server


def test_a_server_that_ends_ends_the_measurement_with_its_code_and_last_words(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["load_server.py", "--model", "absent"])
    assert asyncio.run(asyncio.wait_for(load_server.main(), 60)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and "absent" in err
