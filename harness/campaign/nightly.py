"""A night: check the stations, run the campaign, judge the run, tell what was found."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.bench import Bench
from harness.campaign.checkup import Checkup
from harness.campaign.config import CampaignConfig
from harness.campaign.crew import Crew
from harness.campaign.entry import CampaignResult, run_config
from harness.campaign.ledger import Listener
from harness.campaign.plan import Job
from harness.campaign.runs import recorded
from harness.errors import EXIT_BENCH, EXIT_FAILED, ConfigError, HarnessError
from harness.results.gate import Judgement, judge
from harness.results.policy import Policy
from harness.results.record import StationHealth

if TYPE_CHECKING:
    from harness.results.store import Store

_WEBHOOK_S = 15.0


@dataclass(frozen=True, slots=True)
class Night:
    """What a night found.

    Attributes:
        health: Of each station, before the campaign.
        result: Of the campaign.
        judgement: Of its run.
    """

    health: Sequence[StationHealth]
    result: CampaignResult
    judgement: Judgement

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
    with recorded(store, config, jobs, again="schedule", notes=missing) as book:
        checkup = Checkup(store, book.run.id)
        result = run_config(
            config,
            jobs,
            crew,
            store,
            out=out,
            listener=listener,
            wait_s=wait_s,
            book=book,
            checkup=checkup,
        )
    return Night(checkup.found, result, judge(store, result.run.id, policy))


def check_webhook(url: str) -> str:
    """Return the URL of a webhook; raise `ConfigError` if it is none."""
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"the webhook is '{url}'", expected="a URL that begins with https://")
    return url


def notify(url: str, night: Night) -> None:
    """POST a night as JSON to a webhook.

    Raises:
        HarnessError: It does not answer, or refuses.
    """
    body = json.dumps(night.as_json(), default=str).encode()
    request = urllib.request.Request(
        check_webhook(url), data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_WEBHOOK_S):
            pass
    except (urllib.error.URLError, OSError, ValueError) as failure:
        raise HarnessError(f"the webhook was not told of the night: {failure}") from None
