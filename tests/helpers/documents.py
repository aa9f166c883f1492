"""What Markdown documents hold: blocks of code, command lines, links, tables."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*(p for p in ROOT.glob("*.md")), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]

# Results keep the commands of earlier commits as they were typed.
AS_RUN = re.compile(r'^```bash title="As run (?:at|on) [^"]+"\n.*?^```$', re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of code.

    Attributes:
        line: number of its first line.
        language: as the fence names it.
        text: its lines.
    """

    line: int
    language: str
    text: str


def read_current(name: str) -> str:
    """A document without the commands of earlier commits; lines keep their numbers."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return AS_RUN.sub(lambda match: "\n" * match.group().count("\n"), text)


class Command(NamedTuple):
    """A command line of `insight` or of tools/.

    Attributes:
        words: the program first.
        whole: it stands in a block of a shell, to be typed; in a sentence, arguments may be left out.
    """

    words: list[str]
    whole: bool


def code_blocks(text: str, *languages: str) -> Iterator[Block]:
    """The blocks of code in some languages."""
    for match in _BLOCK.finditer(text):
        if match[2] in languages:
            yield Block(text[: match.start(3)].count("\n") + 1, match[2], match[3])


def commands(text: str) -> Iterator[Command]:
    """The commands of `insight` and of tools/ in blocks of a shell and in inline code."""
    for block in code_blocks(text, "bash", "sh"):
        variables: dict[str, str] = {}
        for line in block.text.replace("\\\n", " ").splitlines():
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"\w+=.*", words[0], re.DOTALL):
                name, _, value = words.pop(0).partition("=")
                variables[name] = value
            if _is_ours(words):
                yield Command(words, whole=True)
    without_blocks = _BLOCK.sub("", text)
    for match in re.finditer(r"(?<![`*])`([^`]+)`(?![`*])", without_blocks):  # in bold stand messages, not commands
        words = match[1].replace("\n", " ").split()
        if _is_ours(words) and not words[-1].startswith("..."):
            yield Command(shlex.split(match[1]), whole=False)


def _is_ours(words: list[str]) -> bool:
    """Whether words are a command of ours, with a name that is not a placeholder."""
    if words[:1] == ["python"]:
        return len(words) > 1 and words[1].startswith("tools/")
    return words[:1] == ["insight"] and len(words) > 1 and not words[1].isupper() and words[1] != "--help"
