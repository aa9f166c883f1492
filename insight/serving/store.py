"""The annotations of the page: objects with revisions in an SQLite database that a kill does not harm."""

import contextlib
import json
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from insight.errors import InputError
from insight.runtime.locks import locked

from .refusal import Refusal

VERSION = 1
_BUSY_SECONDS = 5.0
_MAGIC = b"SQLite format 3\0"  # at the beginning of a database, unless it is still empty
_TABLES = """
CREATE TABLE IF NOT EXISTS properties (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS images (id TEXT PRIMARY KEY, name TEXT NOT NULL, done INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    id TEXT PRIMARY KEY,
    image TEXT NOT NULL,
    revision INTEGER NOT NULL UNIQUE,
    state TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_of_image ON objects (image, state);
"""


class Store:
    """Objects by image, the classes, and which images are done.

    A write is on disk when the call returns (WAL, synchronous=FULL), and is made completely or not at all. An object's
    revision is larger than every revision before it in the database; who changes an object names the revision that was
    seen, and is refused if there is a newer one. Threads may share a store; another process may read the database, and
    write to it between our writes.

    Args:
        path: the database, made if need be, with its folder.
        busy_seconds: how long a write waits for other programs.

    Raises:
        BlockingIOError: another server has it open.
        InputError: the file is of a newer version, of another program, or no database.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, busy_seconds: float = _BUSY_SECONDS):
        self.path = Path(path)
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        try:
            self._require_database()  # before a lock is left beside a file that is not ours
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stack.enter_context(locked(self.path.with_name(f"{self.path.name}.lock")))
            self._database = sqlite3.connect(
                self.path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
            )
            self._stack.callback(self._database.close)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            with self._writing() as database:
                version = database.execute("PRAGMA user_version").fetchone()[0]
                if version > VERSION:
                    raise InputError(f"{self.path}: was written by a newer insight; install that one")
                for statement in _TABLES.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version={VERSION}")
        except BlockingIOError as error:
            self._stack.close()
            raise BlockingIOError(f"{self.path}: another server has these annotations open; stop it first") from error
        except sqlite3.DatabaseError as error:
            self._stack.close()
            raise OSError(f"{self.path}: cannot be opened: {error}") from error
        except BaseException:
            self._stack.close()
            raise

    def _require_database(self) -> None:
        if not self.path.is_file() or not self.path.stat().st_size:
            return
        with open(self.path, "rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise InputError(f"{self.path}: is no database; move it away to start over")
        # Read alone: a database of another program, such as a GeoPackage, must stay as it is.
        with contextlib.closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and not {"properties", "images", "objects"} <= tables:
            raise InputError(f"{self.path}: is a database of another program; expected annotations or a new file")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._stack.close()

    def classes(self) -> list[str]:
        """Return the names of the classes, in their order."""
        return json.loads(self._property("classes") or "[]")

    def set_classes(self, names: list[str]) -> None:
        """Set the names of the classes.

        Raises:
            Refusal: an object has a class that is not among them.
        """
        with self._writing() as database:
            rows = database.execute("SELECT DISTINCT json_extract(content, '$.class') FROM objects")
            used = {row[0] for row in rows}
            if missing := sorted(used - set(names)):
                raise Refusal(409, f"classes: objects have the class {missing[0]}, which would be gone")
            self._set_property(database, "classes", json.dumps(names))

    def counts(self) -> dict[str, tuple[int, bool]]:
        """Return for each image that has any the number of its accepted objects, and whether it is done."""
        with self._lock:
            done = dict(self._database.execute("SELECT id, done FROM images"))
            counts = dict(
                self._database.execute("SELECT image, COUNT(*) FROM objects WHERE state = 'accepted' GROUP BY image")
            )
        return {image: (counts.get(image, 0), bool(done.get(image, 0))) for image in {**done, **counts}}

    def set_done(self, image: str, name: str, done: bool) -> None:
        """Note whether an image is done."""
        with self._writing() as database:
            database.execute(
                "INSERT INTO images VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET done = excluded.done",
                (image, name, int(done)),
            )

    def objects(self, image: str) -> list[dict[str, Any]]:
        """Return the objects of an image, in the order in which they were last changed."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, revision, content FROM objects WHERE image = ? ORDER BY revision", (image,)
            ).fetchall()
        return [_object(*row) for row in rows]

    def add(self, image: str, content: dict[str, Any], identifier: str | None = None) -> tuple[dict[str, Any], bool]:
        """Add an object.

        Args:
            image: id of its image.
            content: its fields.
            identifier: its id, if the client chose one, so that a request that is sent twice adds one object.

        Returns:
            The object, and whether it is new.

        Raises:
            Refusal: the id belongs to another object.
        """
        with self._writing() as database:
            if identifier is not None:
                row = database.execute(
                    "SELECT image, id, revision, content FROM objects WHERE id = ?", (identifier,)
                ).fetchone()
                if row is not None:
                    found = _object(*row[1:])
                    if row[0] == image and json.loads(row[3]) == content:
                        return found, False
                    raise Refusal(409, "id: another object has it", current=found if row[0] == image else None)
            return self._insert(database, image, content, identifier), True

    def add_all(
        self, image: str, contents: Iterable[dict[str, Any]], replace: str | None = None
    ) -> list[dict[str, Any]]:
        """Add objects in one step.

        Args:
            image: id of their image.
            contents: their fields.
            replace: remove the objects of this state and the source "detector" first.

        Returns:
            The objects.
        """
        with self._writing() as database:
            if replace is not None:
                database.execute(
                    "DELETE FROM objects WHERE image = ? AND state = ? "
                    "AND json_extract(content, '$.source') = 'detector'",
                    (image, replace),
                )
            return [self._insert(database, image, content) for content in contents]

    def change(self, image: str, identifier: str, revision: int, content: dict[str, Any]) -> dict[str, Any]:
        """Change an object.

        Args:
            image: id of its image.
            identifier: its id.
            revision: the one that was seen.
            content: its fields from now on.

        Returns:
            The object, with its new revision.

        Raises:
            Refusal: it has been changed since (409, with the current one), or is gone (404).
        """
        with self._writing() as database:
            self._require(database, image, identifier, revision)
            self._add_classes(database, [content["class"]])
            number = self._next(database)
            database.execute(
                "UPDATE objects SET revision = ?, state = ?, content = ? WHERE id = ?",
                (number, content["state"], json.dumps(content), identifier),
            )
            return _object(identifier, number, json.dumps(content))

    def remove(self, image: str, identifier: str, revision: int) -> None:
        """Remove an object; arguments and errors as in `change`."""
        with self._writing() as database:
            self._require(database, image, identifier, revision)
            database.execute("DELETE FROM objects WHERE id = ?", (identifier,))

    def has_imported(self, name: str) -> bool:
        """Return whether `import_once` has been called with this name."""
        return self._property(f"imported {name}") is not None

    def import_once(
        self,
        name: str,
        objects: Iterable[tuple[str, dict[str, Any], str | None]],
        classes: list[str],
        instead_of: Iterable[str] = (),
    ) -> int:
        """Add objects from elsewhere, unless those of this name have been added before.

        Args:
            name: identifies the import.
            objects: ids of images, fields of objects, and their ids or None.
            classes: classes to add to those that are there.
            instead_of: ids of objects that are removed first.

        Returns:
            The number of objects that were added.
        """
        with self._writing() as database:
            if database.execute("SELECT 1 FROM properties WHERE name = ?", (f"imported {name}",)).fetchone():
                return 0
            database.executemany("DELETE FROM objects WHERE id = ?", ((identifier,) for identifier in instead_of))
            count = 0
            self._add_classes(database, classes)
            for image, content, identifier in objects:
                if database.execute("SELECT 1 FROM objects WHERE id = ?", (identifier,)).fetchone():
                    identifier = None  # of another import
                self._insert(database, image, content, identifier)
                count += 1
            self._set_property(database, f"imported {name}", str(count))
            return count

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: on disk at the end of the block, or undone if it raises."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _insert(
        self, database: sqlite3.Connection, image: str, content: dict[str, Any], identifier: str | None = None
    ) -> dict[str, Any]:
        self._add_classes(database, [content["class"]])
        identifier, number, text = identifier or uuid.uuid4().hex, self._next(database), json.dumps(content)
        database.execute(
            "INSERT INTO objects VALUES (?, ?, ?, ?, ?)", (identifier, image, number, content["state"], text)
        )
        return _object(identifier, number, text)

    def _require(self, database: sqlite3.Connection, image: str, identifier: str, revision: int) -> None:
        row = database.execute(
            "SELECT id, revision, content FROM objects WHERE id = ? AND image = ?", (identifier, image)
        ).fetchone()
        if row is None:
            raise Refusal(404, "no such object; it may have been removed elsewhere")
        if row[1] != revision:
            raise Refusal(409, f"the object was changed elsewhere: it is at revision {row[1]}", current=_object(*row))

    def _add_classes(self, database: sqlite3.Connection, names: list[str]) -> None:
        """Add those that are not there yet."""
        row = database.execute("SELECT value FROM properties WHERE name = 'classes'").fetchone()
        known = json.loads(row[0]) if row else []
        if missing := [name for name in names if name not in known]:
            self._set_property(database, "classes", json.dumps([*known, *dict.fromkeys(missing)]))

    def _next(self, database: sqlite3.Connection) -> int:
        """A revision that no object has had."""
        row = database.execute("SELECT value FROM properties WHERE name = 'revision'").fetchone()
        number = int(row[0]) + 1 if row else 1
        self._set_property(database, "revision", str(number))
        return number

    def _property(self, name: str) -> str | None:
        with self._lock:
            row = self._database.execute("SELECT value FROM properties WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    @staticmethod
    def _set_property(database: sqlite3.Connection, name: str, value: str) -> None:
        database.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (name, value))


def _object(identifier: str, revision: int, content: str) -> dict[str, Any]:
    return {"id": identifier, "revision": revision, **json.loads(content)}
