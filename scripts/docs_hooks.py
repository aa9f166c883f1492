"""Pages of the documentation that are made when it is built (a hook of MkDocs, named in mkdocs.yml).

The command line's page shows what `--help` prints; the pages under project/ are files of the repository's top folder.
Names that a page of the reference lists and mkdocstrings leaves out, silently, are warned about.
"""

import argparse
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PROJECT = {"changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md", "security": "SECURITY.md"}
COMMANDS = "<!-- every command -->"
_REFERENCE = re.compile(r"^::: ([\w.]+)((?:\n    .*)*)", re.MULTILINE)
_logger = logging.getLogger("mkdocs.hooks.docs")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages under project/."""
    for name, source in PROJECT.items():
        text = _links_from_project((ROOT / source).read_text(encoding="utf-8"))
        files.append(File.generated(config, f"project/{name}.md", content=text))
    texts = "\n\n".join(f"```text\n{(ROOT / name).read_text(encoding='utf-8')}\n```" for name in ("NOTICE", "LICENSE"))
    files.append(File.generated(config, "project/license.md", content=f"# Licence\n\n{texts}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the help of every command where the page asks for it."""
    if COMMANDS not in markdown:
        return markdown
    from insight.cli.main import build_parser

    os.environ["COLUMNS"] = "88"
    sections = (f"## {parser.prog}\n\n```text\n{parser.format_help()}```" for parser in _parsers(build_parser()))
    return markdown.replace(COMMANDS, "\n\n".join(sections))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Warn about members of the reference that are not in the page."""
    for module, options in _REFERENCE.findall(page.markdown or ""):
        members = re.search(r"members: \[([^]]*)\]", options)
        for name in members[1].split(", ") if members else []:
            if f'id="{module}.{name}"' not in html:
                _logger.warning(f"{page.file.src_path}: {module}.{name} is not in the page")


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all commands below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _parsers(child)


def _links_from_project(text: str) -> str:
    """Links of a file in the top folder, as seen from docs/project/."""
    for name, source in [*PROJECT.items(), ("license", "LICENSE"), ("license", "NOTICE")]:
        text = text.replace(f"]({source})", f"]({name}.md)")
    return re.sub(r"\]\(docs/", "](../", text)
