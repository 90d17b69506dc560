"""Hook of mkdocs.yml: pages that live at the repository's root appear in the site as well."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, with their links to ``docs/`` made relative to the site."""
    for name in PAGES:
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8").replace("](docs/", "](")
        for other in PAGES:
            text = text.replace(f"]({other}.md", f"]({other.lower()}.md")
        files.append(File.generated(config, f"{name.lower()}.md", content=text))
    return files
