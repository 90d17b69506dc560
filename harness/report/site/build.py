"""Write the pages whose inputs changed, and remove those that no longer belong.

A manifest in the folder of the site has the digest of the inputs of each page.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness import __version__
from harness.errors import ResultsError
from harness.files import draft_of
from harness.report.site.data import Snapshot
from harness.report.site.html import HERE, environment, missing
from harness.results.clock_error import checks_file
from harness.results.record import Measurement

MANIFEST = ".harness-site.json"
_VERSION = 1
_AT_ONCE = 500  # whole rows that are held at a time
_STATIC = ("site.css", "site.js")
_PLOTLY = "plotly.min.js"

Rows = Mapping[int, Measurement]
"""Whole rows by place."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page that can be written.

    Attributes:
        path: Where, from the root of the site.
        template: File in ``templates/``.
        digest: Hash of what it is made from.
        context: Makes what the template shows, of the rows at `places`.
        places: Rows that are loaded for it.
        layers: Whether their layers are needed.
    """

    path: str
    template: str
    digest: str
    context: Callable[[Rows], Mapping[str, Any]]
    places: Sequence[int] = ()
    layers: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """What was done: the start page, and the pages written, kept and removed."""

    index: Path
    written: Sequence[str] = field(repr=False)
    kept: int
    removed: Sequence[str] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        lists = {"written": list(self.written), "removed": list(self.removed)}
        return {"index": str(self.index), **lists, "kept": self.kept}


def build(
    pages: Sequence[Page], snapshot: Snapshot, folder: Path, shared: Mapping[str, Any]
) -> Built:
    """Write pages into `folder`; `shared` is what every template sees.

    Raises:
        ResultsError: The folder holds something else, or cannot be written.
        ConfigError: Jinja2 or Plotly is not installed.
    """
    templates = environment()
    before, remembered = _read_manifest(folder)
    snapshot.memory.update(remembered)
    look = _hash(_look(), json.dumps(shared, sort_keys=True))
    now = {page.path: _hash(look, page.template, page.digest) for page in pages}
    stale = [
        page
        for page in pages
        if before.get(page.path) != now[page.path] or not (folder / page.path).is_file()
    ]
    now |= _copy_assets(folder, before)
    for some in _portions(stale):
        rows = _load(some, snapshot)
        for page in some:
            root = "../" * page.path.count("/")
            text = templates.get_template(page.template).render(
                root=root, path=page.path, **shared, **page.context(rows)
            )
            _write(folder / page.path, text)
    removed = sorted(before.keys() - now.keys())
    for path in removed:
        _remove(folder, path)
    if now != before:
        memory = {run: counts for run, counts in snapshot.memory.items() if run in snapshot.runs}
        manifest = {"version": _VERSION, "files": now, "memory": memory}
        _write(folder / MANIFEST, json.dumps(manifest, indent=0))
    written = [page.path for page in stale]
    return Built(folder / "index.html", written, len(pages) - len(stale), removed)


def _portions(pages: Sequence[Page]) -> Iterator[list[Page]]:
    """Yield pages whose rows fit in memory together, those that need layers apart."""
    some: list[Page] = []
    rows = 0
    for page in sorted(pages, key=lambda page: page.layers):
        if some and (rows + len(page.places) > _AT_ONCE or some[-1].layers != page.layers):
            yield some
            some, rows = [], 0
        some.append(page)
        rows += len(page.places)
    if some:
        yield some


def _load(pages: Sequence[Page], snapshot: Snapshot) -> Rows:
    places = {place for page in pages for place in page.places}
    return snapshot.load(places, layers=pages[0].layers) if places else {}


def _copy_assets(folder: Path, before: Mapping[str, str]) -> dict[str, str]:
    package = find_spec("plotly")
    roots = list(package.submodule_search_locations or ()) if package else []
    if not roots:
        raise missing("Plotly")
    sources = {name: HERE / "static" / name for name in _STATIC}
    sources[_PLOTLY] = Path(roots[0]) / "package_data" / _PLOTLY
    found = {}
    for name, source in sources.items():
        path = f"assets/{name}"
        facts = source.stat()
        found[path] = _hash(f"{facts.st_size} {facts.st_mtime_ns}")
        if before.get(path) != found[path] or not (folder / path).is_file():
            with draft_of(folder / path, what="site", error=ResultsError) as draft:
                shutil.copyfile(source, draft)
    return found


def _read_manifest(folder: Path) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Return digests by path and what is remembered; refuse a folder with files of others."""
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if manifest["version"] == _VERSION:
            files = {str(path): str(digest) for path, digest in manifest["files"].items()}
            return files, dict(manifest["memory"])
        return dict.fromkeys(map(str, manifest["files"]), ""), {}
    except FileNotFoundError:
        if folder.is_dir() and any(folder.iterdir()):
            raise ResultsError(
                "the folder for the site holds other files",
                where=str(folder),
                expected="an empty folder, a new one, or a site made by `harness report`",
                fix="name another folder with --out",
            ) from None
        return {}, {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as failure:
        raise ResultsError(
            f"the list of the site's files cannot be read: {failure}",
            where=str(file),
            fix="remove the folder of the site; it is made anew",
        ) from None


def _remove(folder: Path, path: str) -> None:
    file = (folder / path).resolve()
    # The list might have been changed by others: nothing outside is removed.
    if file.is_relative_to(folder.resolve()):
        file.unlink(missing_ok=True)


def _write(file: Path, text: str) -> None:
    with draft_of(file, what="site", error=ResultsError) as draft:
        draft.write_text(text, encoding="utf-8", errors="replace")


def _look() -> str:
    """Return a hash of the code and templates that make pages, so that a new version writes all."""
    files = [path for path in HERE.parent.rglob("*") if path.suffix in (".py", ".html")]
    files.append(checks_file())
    return _hash(__version__, *(path.read_text(encoding="utf-8") for path in sorted(files)))


def _hash(*texts: str) -> str:
    hashed = hashlib.sha256()
    for text in texts:
        hashed.update(hashlib.sha256(text.encode()).digest())
    return hashed.hexdigest()
