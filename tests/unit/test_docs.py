"""The documentation names what there is: links, pages, issue codes, campaign keys, public names."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

import harness
from harness.campaign import rows
from harness.campaign.config import (
    ArchitectureEntry,
    BackboneSamples,
    CampaignConfig,
    FitOptions,
    MeasureOptions,
    RuntimeSweep,
)
from harness.errors import HarnessError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Made by tools/site.py from the pages at the root.
SITE_ONLY = {"architecture.md", "contributing.md", "changelog.md"}


def _pages() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")), ROOT / "results" / "README.md"]


def _codes(kind: type[HarnessError]) -> set[str]:
    return {kind.code}.union(*(_codes(child) for child in kind.__subclasses__()))


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [
        target
        for target in targets
        if "://" not in target
        and not (page.parent / target).exists()
        and not (page.name == "index.md" and target in SITE_ONLY)
    ]
    assert not missing


def test_every_page_is_in_the_navigation_once() -> None:
    named = re.findall(r": (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(named) == sorted({path.name for path in DOCS.glob("*.md")} | SITE_ONLY)


def test_every_failure_is_explained_by_its_code() -> None:
    text = (DOCS / "results.md").read_text() + (DOCS / "troubleshooting.md").read_text()
    explained = set(re.findall(r"`(?:error\[)?([a-z-]+)\]?`", text))
    assert not _codes(HarnessError) - {"error"} - explained
    issues = inspect.getsource(rows._issues)
    degraded = set(re.findall(r'^ {8}"([a-z-]+)": ', issues, flags=re.MULTILINE))
    assert degraded
    assert not degraded - explained


def test_every_key_of_a_campaign_file_is_explained() -> None:
    text = (DOCS / "campaigns.md").read_text()
    kinds: tuple[type[BaseModel], ...] = (
        ArchitectureEntry,
        BackboneSamples,
        CampaignConfig,
        FitOptions,
        MeasureOptions,
        RuntimeSweep,
    )
    keys = {key for kind in kinds for key in kind.model_fields}
    assert not {key for key in keys if f"`{key}`" not in text and f"{key}]" not in text}


def test_every_environment_variable_is_explained() -> None:
    sources = [path for folder in ("harness", "studies") for path in (ROOT / folder).rglob("*.py")]
    used = {
        name for path in sources for name in re.findall(r"\bHARNESS_[A-Z_]+\b", path.read_text())
    }
    text = (DOCS / "environment.md").read_text()
    assert not {name for name in used if f"`{name}`" not in text}


def test_every_public_name_is_in_the_python_reference() -> None:
    text = (DOCS / "python.md").read_text()
    assert not [name for name in harness.__all__ if not name.startswith("_") and name not in text]


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/rooms.md"])
def test_every_path_that_a_guide_names_exists(name: str) -> None:
    folders = "boards|campaigns|docs|firmware_template|harness|results|studies|tests|tools"
    paths = re.findall(rf"`((?:{folders})/[\w./-]*)`", (ROOT / name).read_text())
    assert paths
    assert not [path for path in paths if not (ROOT / path).exists()]
