"""The documents name what exists."""

import contextlib
import re
from pathlib import Path

import pytest

pytest.importorskip("detectron2")
from detectron2.config import CfgNode, get_cfg

from insight.config import add_insight_config

ROOT = Path(__file__).resolve().parent.parent


def keys(cfg: CfgNode, prefix: str = "") -> set[str]:
    found = set()
    for name, value in cfg.items():
        found |= keys(value, f"{prefix}{name}.") if isinstance(value, CfgNode) else {prefix + name}
    return found


def test_every_config_key_is_documented_and_none_is_invented():
    ours, detectron2s = get_cfg(), get_cfg()
    add_insight_config(ours)
    with contextlib.suppress(ModuleNotFoundError):
        from detectron2.projects.point_rend import add_pointrend_config

        add_pointrend_config(detectron2s)
    documented = set(re.findall(r"^\| `([A-Z0-9_.]+)` \|", (ROOT / "docs/config.md").read_text(), re.MULTILINE))
    assert documented == keys(ours) - keys(detectron2s)


DOCUMENTS = ["README.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").rglob("*.md")))]


AS_RUN = re.compile(r'^```bash title="As run (?:at|on) [^"]+"\n.*?^```$', re.MULTILINE | re.DOTALL)


def read_current(document: str) -> str:
    """Read a document without its blocks of commands as they were run at an earlier commit."""
    return AS_RUN.sub("", (ROOT / document).read_text())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_documents_name_exist(document):
    text = read_current(document)
    links = [Path(document).parent / m for m in re.findall(r"\]\((?!http|#)([^)#]+)", text)]
    commands = re.findall(r"\b((?:configs|tools|benchmarks|scripts|docs)/[\w./-]+\.(?:py|yaml|md|png|json))\b", text)
    missing = [str(p) for p in [*links, *map(Path, commands)] if not (ROOT / p).exists()]
    assert not missing


def anchors(document: Path) -> set[str]:
    """What GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.*)", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_headings_that_documents_link_to_exist(document):
    here = ROOT / document
    links = re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", here.read_text())
    assert [(file, to) for file, to in links if to not in anchors(here.parent / file if file else here)] == []


def test_commands_of_earlier_commits_stand_in_results_alone():
    with_history = [d for d in DOCUMENTS if AS_RUN.search((ROOT / d).read_text())]
    assert with_history and all(d.startswith("docs/results/") for d in with_history)
