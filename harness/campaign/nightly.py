"""A night: check the stations, run the campaign, judge the run, tell what was found."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.bench import Bench
from harness.campaign.checkup import Checkup
from harness.campaign.config import CampaignConfig
from harness.campaign.crew import Crew
from harness.campaign.entry import CampaignResult, default_folder, run_config
from harness.campaign.ledger import Listener
from harness.campaign.plan import Job
from harness.campaign.runs import recorded
from harness.errors import EXIT_BENCH, EXIT_FAILED, ConfigError, FitError, HarnessError
from harness.results.gate import Judgement, judge
from harness.results.policy import Policy
from harness.results.record import StationHealth

if TYPE_CHECKING:
    from harness.results.store import Store

_WEBHOOK_S = 15.0


@dataclass(frozen=True, slots=True)
class Drift:
    """A fit of this night beside the one that the same file held before.

    Attributes:
        file: Name of the fit's file.
        before: Operations per second.
        after: The same of this night.
    """

    file: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """Return after / before - 1."""
        return self.after / self.before - 1


@dataclass(frozen=True, slots=True)
class Night:
    """What a night found.

    Attributes:
        health: Of each station, before the campaign.
        result: Of the campaign.
        judgement: Of its run.
        drift: Of the fits that there were before.
    """

    health: Sequence[StationHealth]
    result: CampaignResult
    judgement: Judgement
    drift: Sequence[Drift]

    @property
    def sick(self) -> list[StationHealth]:
        """Stations that failed their check."""
        return [one for one in self.health if one.verdict == "error"]

    @property
    def exit_code(self) -> int:
        """0: fine; 1: something is worse, or failed; 3: only the bench is to blame."""
        if self.judgement.regressed:
            return EXIT_FAILED
        if self.sick or self.result.run.outcome == "bench":
            return EXIT_BENCH
        return EXIT_FAILED if self.result.summary.statuses["invalid"] else 0

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data, as a webhook gets it."""
        run = self.result.run
        return {
            "run": run.id,
            "campaign": run.campaign,
            "host": run.host,
            "outcome": run.outcome,
            "exit_code": self.exit_code,
            "counts": {
                name: getattr(run, name)
                for name in ("planned", "skipped", "valid", "degraded", "invalid", "not_run")
            },
            "missing": list(run.notes),
            "stations": [
                {"station": one.station, "verdict": one.verdict, "what": one.what}
                for one in self.health
            ],
            "fits": [{**asdict(one), "change": one.change} for one in self.drift],
            "gate": self.judgement.as_json(),
        }


def run_night(
    config: CampaignConfig,
    jobs: Sequence[Job],
    crew: Bench | Crew,
    store: Store,
    *,
    policy: Policy,
    out: Path | None,
    listener: Listener,
    missing: Sequence[str] = (),
    wait_s: float = 0.0,
) -> Night:
    """Check each station of the plan, run the campaign and judge it.

    A station that fails its check is left out, and disabled where it is the cause. Raises as
    `run_config`; what was measured until then is kept.
    """
    folder = out or default_folder(config)
    before = _throughputs(folder)
    with recorded(store, config, jobs, again="schedule", notes=missing) as book:
        checkup = Checkup(store, book.run.id)
        result = run_config(
            config,
            jobs,
            crew,
            store,
            out=folder,
            listener=listener,
            wait_s=wait_s,
            book=book,
            checkup=checkup,
        )
    after = _throughputs(folder) if result.outcome.fits else {}
    drift = [Drift(name, before[name], after[name]) for name in after if name in before]
    return Night(checkup.found, result, judge(store, result.run.id, policy), drift)


def _throughputs(folder: Path) -> dict[str, float]:
    """Return operations per second by name of the fit's file."""
    from harness.fit import load_fit

    found = {}
    for file in sorted(folder.glob("fit-*.json")):
        with suppress(FitError):  # of an older harness
            found[file.name] = load_fit(file).throughput_ops_per_s
    return found


def check_webhook(url: str) -> str:
    """Return the URL of a webhook; raise `ConfigError` if it is none."""
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"the webhook is '{url}'", expected="a URL that begins with https:// or http://"
        )
    return url


def notify(url: str, night: Night) -> None:
    """POST a night as JSON to a webhook.

    Raises:
        HarnessError: It does not answer, or refuses.
    """
    body = json.dumps({"schema": 1, **night.as_json()}, default=str).encode()
    request = urllib.request.Request(
        check_webhook(url), data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_WEBHOOK_S):
            pass
    except (urllib.error.URLError, OSError, ValueError) as failure:
        raise HarnessError(f"the webhook was not told of the night: {failure}") from None
