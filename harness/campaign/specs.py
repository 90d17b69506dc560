"""The networks of a campaign: sampled from backbones, named by decisions, or files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.backbones import Architecture, Limits, get_backbone, own_names
from harness.campaign.config import CampaignConfig
from harness.errors import CampaignError
from harness.models.formats import refuse_foreign


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A network to measure: sampled from a backbone, or a file."""

    name: str
    seed: int  # of weights and inputs
    architecture: Architecture | None = None  # None for a file
    sample_index: int | None = None  # in the backbone's sequence
    path: Path | None = None  # the user's .tflite
    sha256: str | None = None  # of that file

    def identity(self) -> dict[str, Any]:
        """Return what decides the network's bits."""
        if self.architecture is not None:
            known = {"architecture": self.architecture.to_json(), "seed": self.seed}
            return {**known, **_layers_of(self.architecture)}
        return {"sha256": self.sha256, "seed": self.seed}


def choose_specs(config: CampaignConfig) -> tuple[ModelSpec, ...]:
    """Return the networks of a campaign in a fixed order: sampled, named, files.

    Raises `BackboneError` for an unknown backbone or decisions outside its space, and
    `CampaignError` for a file that cannot be read.
    """
    sampled = (
        ModelSpec(f"{network.backbone}-{network.id}", config.seed, network, index)
        for network, index in _architectures(config)
    )
    return (*sampled, *(file_spec(Path(name), config.seed) for name in config.models))


def file_spec(path: Path, seed: int) -> ModelSpec:
    """Return the spec of a user's .tflite.

    Raises `CampaignError` if it cannot be read, `ModelFormatError` for another framework's model.
    """
    try:
        content = path.read_bytes()
    except OSError as failure:
        raise CampaignError(
            f"cannot read model {path}: {failure.strerror}",
            fix="check the path; `harness run --models DIR` names the folder of its models",
        ) from None
    refuse_foreign(content, where=str(path))
    digest = hashlib.sha256(content).hexdigest()
    return ModelSpec(name=path.stem, seed=seed, path=path, sha256=digest)


def _layers_of(architecture: Architecture) -> dict[str, str]:
    """Return the layers of a package's backbone: an update of the package may change them."""
    if architecture.backbone in own_names():
        return {}
    layers = repr(get_backbone(architecture.backbone).layers(architecture))
    return {"layers": hashlib.sha256(layers.encode()).hexdigest()}


def _architectures(config: CampaignConfig) -> Iterator[tuple[Architecture, int | None]]:
    for entry in config.backbones:
        backbone = get_backbone(entry.name)
        if entry.resolution is not None:
            backbone = backbone.with_resolution(entry.resolution)
        limits = Limits(entry.max_working_memory_bytes, entry.max_parameters)
        for index in range(entry.first, entry.first + entry.samples):
            step = entry.width_step
            yield backbone.sample(config.seed, index, limits=limits, width_step=step), index
    for named in config.architectures:
        yield get_backbone(named.backbone).from_json(named.model_dump()), None
