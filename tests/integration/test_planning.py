"""Planning a campaign; a job's key holds the compiler's version."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.backbones import get_backbone
from harness.bench import virtual_bench
from harness.campaign.config import read_campaign
from harness.campaign.plan import plan
from harness.campaign.specs import choose_specs
from harness.errors import BackboneError

pytestmark = pytest.mark.usefixtures("virtual_board")
GOOD = """
name = "t"
boards = ["nucleo_f746zg"]
[[backbones]]
name = "ds_cnn_kws"
samples = 2
"""


def test_networks_may_be_named_by_their_decisions(tmp_path: Path) -> None:
    sampled = get_backbone("ds_cnn_kws").sample(0, 1)
    decisions = sampled.to_json()["decisions"]
    rows = "\n".join(f"{name} = {values}" for name, values in decisions.items())
    entry = f'\n[[architectures]]\nbackbone = "ds_cnn_kws"\n[architectures.decisions]\n{rows}\n'
    file = tmp_path / "campaign.toml"
    file.write_text(GOOD + entry)
    config = read_campaign(file)
    assert choose_specs(config)[-1].architecture == sampled
    # It is sample 1 of the backbone as well: the same network is one job.
    assert len(plan(config, virtual_bench())) == 2
    wrong = entry.replace("[[", "\n[[").replace(rows, rows.split("\n")[0])
    file.write_text(GOOD + wrong)
    with pytest.raises(BackboneError):
        choose_specs(read_campaign(file))
