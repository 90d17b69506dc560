"""The site of a results store: static pages that need no server and no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__

if TYPE_CHECKING:
    from harness.report.site.build import Built, Page
    from harness.report.site.data import Snapshot
    from harness.results.policy import Policy
    from harness.results.store import Store

_NAVIGATION = (
    ("index.html", "Night"),
    ("campaigns.html", "Campaigns"),
    ("networks.html", "Networks"),
    ("compare.html", "Compare"),
    ("stations.html", "Stations"),
)


def write_site(
    store: Store, folder: Path, *, policy: Policy | None = None, searches: Path | None = None
) -> Built:
    """Write the site of a store into `folder`; pages whose rows did not change are kept.

    Args:
        store: Any results store.
        folder: A new or empty folder, or a site, of which pages that no longer belong are removed.
        policy: What the gate lets pass, by which runs are judged.
        searches: Folder with results of `harness search`, at any depth.

    Raises:
        ResultsError: The folder holds other files or cannot be written, or the store not be read.
        ConfigError: Jinja2 or Plotly is not installed.
    """
    from harness.report.site.build import build
    from harness.report.site.data import Snapshot

    snapshot = Snapshot.of(store, policy)
    pages = list(_pages(snapshot, searches))
    navigation = [*_NAVIGATION, *([("searches.html", "Searches")] if searches else [])]
    shared: dict[str, Any] = {
        "navigation": navigation,
        "store": Path(store.url.partition("?")[0]).name,
        "version": __version__,
    }
    return build(pages, snapshot, folder, shared)


def _pages(snapshot: Snapshot, searches: Path | None) -> Iterator[Page]:
    from harness.report.site.campaigns import campaign_pages
    from harness.report.site.comparison import comparison_page
    from harness.report.site.networks import network_pages
    from harness.report.site.nights import night_pages
    from harness.report.site.stations import station_page

    yield from night_pages(snapshot)
    yield from campaign_pages(snapshot)
    yield from network_pages(snapshot)
    yield from comparison_page(snapshot)
    yield from station_page(snapshot)
    if searches is not None:
        from harness.report.site.searches import search_page

        yield from search_page(searches)
