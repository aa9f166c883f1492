"""Reading YAML files as plain data of bounded size; nothing in them is executed."""

import os
from pathlib import Path
from typing import Any

import yaml

from insight.errors import InputError

_MAX_BYTES = 1 << 20
_MAX_VALUES = 100_000  # with every alias written out
_MAX_DEPTH = 64
# What SafeLoader raises at values such as `!!bool x`, `!!timestamp x` or a number of 5,000 digits
_BAD_VALUES = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


def read_yaml(path: str | os.PathLike) -> Any:
    """Read a YAML file of plain values: mappings, lists, strings, numbers, booleans.

    Args:
        path: the file, at most 1 MiB.

    Returns:
        Its content; None if it is empty.

    Raises:
        InputError: the file cannot be read, is too large or not YAML, or has tags that would create other objects.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: expected a YAML file, got a folder")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise InputError(f"{path}: expected at most {_MAX_BYTES:,} bytes of YAML")
        return yaml.load(content.decode("utf-8"), Loader=_Loader)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected YAML in UTF-8 ({error})") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: {_one_line(error)}") from error
    except InputError:
        raise
    except _BAD_VALUES as error:
        raise InputError(f"{path}: a value cannot be read ({' '.join(str(error).split())[:200]})") from error


class _Loader(yaml.SafeLoader):
    """SafeLoader with bounds on depth and on what aliases unfold to."""

    def __init__(self, stream: str):
        super().__init__(stream)
        self._depth = self._values = 0
        self._sizes: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event, before = self.peek_event(), self._values
        if not isinstance(event, yaml.AliasEvent):
            self._values += 1
        elif event.anchor in self.anchors:
            self._values += self._sizes.get(event.anchor, _MAX_VALUES + 1)  # without a size it holds itself
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {_MAX_DEPTH} levels", problem_mark=event.start_mark)
        if self._values > _MAX_VALUES:
            problem = f"unfolds to more than {_MAX_VALUES:,} values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor and not isinstance(event, yaml.AliasEvent):
            self._sizes[event.anchor] = self._values - before
        return node


def _one_line(error: yaml.YAMLError) -> str:
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    if isinstance(error, yaml.constructor.ConstructorError) and "tag:yaml.org,2002:python/" in str(problem):
        tag = str(problem).partition("tag:yaml.org,2002:")[2].partition("'")[0]
        return f"{where}the tag !!{tag[:100]} is refused: it would run code, expected plain values"
    return f"{where}not YAML ({' '.join(str(problem or error).split())[:200]})"
