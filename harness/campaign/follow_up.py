"""Measure what a search found, or wants to know, through the ordinary campaign path.

A search reaches the bench only here: it hands over architectures or a model, and gets rows or a
better fit back. Both are measured exactly as the fit's own rows were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backbones import Architecture
from harness.bench import Bench
from harness.campaign.config import CampaignConfig
from harness.campaign.plan import plan
from harness.campaign.runner import Listener, run
from harness.errors import CampaignError, FitError
from harness.results.record import Measurement, best_per_key
from harness.strict import parse

if TYPE_CHECKING:
    from harness.fit import Fit
    from harness.results.store import Store

_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """Where and how to measure what belongs to a fit.

    Attributes:
        fit: Names the board and the configuration.
        bench: What is plugged in.
        store: Where the fit's rows are and the new ones go.
        station: Station to use; None takes the first that carries the fit's board.
        libraries: Library by kernel set, for runtimes that need one.
        seed: Seed of weights and inputs.
        repeats: Timed inferences.
        name: Name that the rows carry as their campaign.
    """

    fit: Fit
    bench: Bench
    store: Store
    station: str | None = None
    libraries: Mapping[str, str] | None = None
    seed: int = 0
    repeats: int = 3
    name: str = "search"

    def prove(self, models: Sequence[Path], listener: Listener) -> list[Measurement]:
        """Build, flash and measure models; return a row of each, in their order.

        Args:
            models: Full-int8 .tflite files.
            listener: Hears progress.

        Raises:
            CampaignError: No row came of one, because its station failed.
        """
        return self._measure({"models": [str(path.resolve()) for path in models]}, listener)

    def refine(self, architectures: Iterable[Architecture], listener: Listener) -> Fit:
        """Measure networks of the fit's backbone and fit again with their rows added.

        The held-out architectures stay what they were: a new one that belongs to the holdout by
        its hash is measured, but neither fitted nor tested on.

        Raises:
            FitError: The store lacks rows of the fit, or no network could be measured.
            CampaignError: The station failed.
        """
        from harness.fit import Fingerprint, fit_rows
        from harness.fit.select import architecture_id, held_out

        old = self._rows_of_the_fit()
        entries = [architecture.to_json() for architecture in architectures]
        measured = self._measure({"architectures": entries}, listener)
        known = set(self.fit.keys) | set(self.fit.holdout_keys)
        new = [
            row
            for row in measured
            if row.key not in known
            and row.usable
            and Fingerprint.of(row) == self.fit.fingerprint
            and not held_out(architecture_id(row))
        ]
        return fit_rows(
            [*old, *new],
            degraded="degraded" in self.fit.statuses,
            predictor=self.fit.predictor,
        )

    def _rows_of_the_fit(self) -> list[Measurement]:
        wanted = {*self.fit.keys, *self.fit.holdout_keys}
        rows = [row for row in self.store.query(with_layers=False) if row.key in wanted]
        found = {row.key for row in rows}
        if missing := sorted(wanted - found):
            raise FitError(
                f"{len(missing)} of the fit's {len(wanted)} rows are not in the store",
                where=self.store.url,
                expected=", ".join(key[:12] for key in missing[:_SHOWN]),
                fix="name the store that the fit was made from with --db",
            )
        return best_per_key(rows)

    def _measure(self, what: dict[str, Any], listener: Listener) -> list[Measurement]:
        jobs = plan(self._config(what), self.bench)
        run(jobs, self.store, campaign=self.name, listener=listener)
        wanted = {job.key for job in jobs}
        rows = best_per_key(row for row in self.store.query() if row.key in wanted)
        by_key = {row.key: row for row in rows}
        if missing := [job for job in jobs if job.key not in by_key]:
            raise CampaignError(
                f"{len(missing)} of {len(jobs)} networks were not measured",
                where=missing[0].station.name,
                fix="`harness bench check` says what is wrong with the station",
            )
        return [by_key[job.key] for job in jobs]

    def _config(self, what: dict[str, Any]) -> CampaignConfig:
        fingerprint = self.fit.fingerprint
        sweep: dict[str, Any] = {
            "name": fingerprint.runtime,
            "kernels": [fingerprint.kernels],
            "optimization": [fingerprint.optimization],
            "libraries": dict(self.libraries or {}),
            "one_firmware": bool(fingerprint.one_firmware),
        }
        caches = {name: getattr(fingerprint, name) for name in ("icache", "dcache", "art")}
        measure = {name: value for name, value in caches.items() if value is not None}
        where = {"stations": [self.station]} if self.station else {"boards": [fingerprint.board]}
        data = {
            "name": self.name,
            "seed": self.seed,
            "runtimes": [sweep],
            "measure": {"repeats": self.repeats, **measure},
            **where,
            **what,
        }
        return parse(CampaignConfig, data, where="the search", error=CampaignError)
