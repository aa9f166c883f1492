"""The database of the annotations: kills, locks, full disks, revisions."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from helpers.servers import detail, image_ids, make_settings, new_object, start

from insight.errors import InputError
from insight.serving.refusal import Refusal
from insight.serving.store import Store

WRITER = """
import sys
from pathlib import Path
from insight.serving.store import Store
store = Store(Path(sys.argv[1]))
number = int(sys.argv[2])
square = [[[0, 0], [9, 0], [9, 9]]]
last = None
while True:
    content = {"class": "ship", "state": "accepted", "source": "prompt", "number": number, "polygons": square}
    if number % 3 and last is not None:
        last = store.change("image", last["id"], last["revision"], content)
    else:
        last, _ = store.add("image", content)
    print(last["id"], last["revision"], number, flush=True)
    number += 1
"""


def _content(**fields):
    return {"class": "ship", "state": "accepted", "source": "prompt", "polygons": [], **fields}


def _kill_between_writes(path, times):
    """Kill a process that writes, again and again; return what it was told is stored: {id: (revision, number)}."""
    accepted, number = {}, 0
    for i in range(times):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(3 + i % 7):
            line = process.stdout.readline()
            identifier, revision, number = line.split()
            accepted[identifier] = (int(revision), int(number))
        os.kill(process.pid, signal.SIGKILL)
        for line in process.stdout.read().splitlines():  # answers that were on their way
            parts = line.split()
            if len(parts) == 3 and line:
                accepted[parts[0]] = (int(parts[1]), int(parts[2]))
        process.wait()
        number = max(value for _, value in accepted.values()) + 1
    return accepted


def _require_everything(path, accepted, kills):
    store = Store(path)
    stored = {one["id"]: (one["revision"], one["number"]) for one in store.objects("image")}
    for identifier, told in accepted.items():
        assert stored[identifier] >= told
    assert len(stored) - len(accepted) <= kills  # writes whose answer a kill cut off
    check = sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone()
    assert check == ("ok",)
    store.close()


def test_a_kill_loses_nothing_that_was_accepted(tmp_path):
    path = tmp_path / "store" / "annotations.sqlite"
    _require_everything(path, _kill_between_writes(path, 2), 2)


@pytest.mark.slow
def test_a_hundred_kills_lose_nothing_that_was_accepted(tmp_path):
    path = tmp_path / "annotations.sqlite"
    _require_everything(path, _kill_between_writes(path, 100), 100)


def test_of_two_saves_at_once_one_is_accepted(tmp_path):
    store = Store(tmp_path / "annotations.sqlite")
    seen, _ = store.add("image", _content())
    barrier, outcomes = threading.Barrier(8), []

    def save(number):
        barrier.wait()
        try:
            outcomes.append(store.change("image", seen["id"], seen["revision"], _content(number=number)))
        except Refusal as refusal:
            outcomes.append(refusal)

    threads = [threading.Thread(target=save, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = [one for one in outcomes if isinstance(one, dict)]
    assert len(accepted) == 1
    assert all(one.status_code == 409 and one.more["current"] == accepted[0] for one in outcomes if one not in accepted)
    assert store.objects("image") == accepted
    store.close()


def test_a_write_that_fails_leaves_nothing(tmp_path):
    store = Store(tmp_path / "annotations.sqlite")
    store.add("image", _content())
    before = store.objects("image"), store.classes()

    def contents():
        yield _content(**{"class": "plane"})
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        store.add_all("image", contents())
    assert (store.objects("image"), store.classes()) == before
    store.close()


def test_a_second_server_is_told(tmp_path):
    store = Store(tmp_path / "annotations.sqlite")
    with pytest.raises(BlockingIOError, match="another server"):
        Store(tmp_path / "annotations.sqlite")
    store.close()
    Store(tmp_path / "annotations.sqlite").close()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.sqlite").write_text("not a database" * 100)
    with pytest.raises(InputError, match="no database"):
        Store(tmp_path / "text.sqlite")
    assert [path.name for path in tmp_path.iterdir()] == ["text.sqlite"]
    other = sqlite3.connect(tmp_path / "other.gpkg")
    other.execute("CREATE TABLE gpkg_contents (table_name TEXT)")
    other.close()
    before = (tmp_path / "other.gpkg").read_bytes()
    with pytest.raises(InputError, match="another program"):
        Store(tmp_path / "other.gpkg")
    assert (tmp_path / "other.gpkg").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.gpkg", "text.sqlite"]
    (tmp_path / "empty.sqlite").touch()
    Store(tmp_path / "empty.sqlite").close()
    newer = sqlite3.connect(tmp_path / "newer.sqlite")
    newer.execute("PRAGMA user_version=99")
    newer.close()
    with pytest.raises(InputError, match="newer insight"):
        Store(tmp_path / "newer.sqlite")


def test_a_locked_database_is_a_503(client):
    store, place = client.app.state.services.store, f"/api/images/{image_ids(client)[0]}/objects"
    store._database.execute("PRAGMA busy_timeout=50")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    reply = client.post(place, json=new_object())
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    assert "locked" in detail(reply)
    assert client.get(place).json() == []  # who reads is not in the way
    other.execute("ROLLBACK")
    other.close()
    assert client.post(place, json=new_object()).status_code == 201


def test_a_full_disk_is_a_507(client):
    store, place = client.app.state.services.store, f"/api/images/{image_ids(client)[0]}/objects"
    kept = client.post(place, json=new_object()).json()
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count={pages}")
    large = new_object(polygons=[[[i, i * i % 97] for i in range(5000)]])
    reply = client.post(place, json=large)
    assert reply.status_code == 507
    assert "space" in detail(reply)
    change = client.put(f"{place}/{kept['id']}", json=large, headers={"If-Match": str(kept["revision"])})
    assert change.status_code == 507
    assert client.get(place).json() == [kept]
    store._database.execute("PRAGMA max_page_count=1000000")
    assert client.post(place, json=large).status_code == 201


def test_annotations_survive_a_restart(tmp_path, model):
    settings = make_settings(tmp_path, model)
    with start(settings) as client:
        first = image_ids(client)[0]
        stored = client.post(f"/api/images/{first}/objects", json=new_object()).json()
        client.put(f"/api/images/{first}", json={"done": True})
    with start(settings) as client:
        assert client.get(f"/api/images/{first}/objects").json() == [stored]
        assert client.get(f"/api/images/{first}").json()["done"]
    content = sqlite3.connect(tmp_path / "images" / ".insight" / "annotations.sqlite").execute(
        "SELECT content FROM objects"
    )
    assert json.loads(content.fetchone()[0])["class"] == "ship"
