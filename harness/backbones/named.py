"""Published networks as architectures of the backbones: yardsticks for what a search finds.

Sources: Banbury et al., "MicroNets", MLSys 2021 (arXiv 2010.11267v6), table 5 for keyword spotting
and anomaly detection, table 4 for operations and accuracy; DS-CNN: Zhang et al. 2017 as MicroNets
measured them, with the first convolution at stride 1 and the first block at stride 2. The widths of
MicroNet-VWW-2, -3 and -4 are those of the .tflite files in ARM-software/ML-zoo, as the Keras models
that others trained from them state them; VWW-1 is published as a picture only. Table 4 counts the
49×10 inputs as 122.5 positions after a stride of 2, where the networks have 25×5 = 125, so that the
operations here are 1 to 2 % more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.backbones.architecture import Architecture
from harness.errors import BackboneError

_TABLE = "MicroNets, table 4"
_KWS = "top-1 on Speech Commands v2, 12 labels (%)"
_VWW = "top-1 on Visual Wake Words (%)"
_AD = "AUC on MIMII slide rail (%)"


@dataclass(frozen=True, slots=True)
class NamedNetwork:
    """A published network."""

    name: str
    backbone: str
    decisions: Mapping[str, Sequence[int]]
    published_mops: float  # millions of operations, as the source rounds them
    published_score: float  # of the int8 network on the full data set
    metric: str  # what the score is, on which data
    source: str  # of score and operations
    differs: str = ""  # what the backbone has otherwise; empty where it is the same network

    @property
    def architecture(self) -> Architecture:
        """Return the architecture, which can be written, trained and measured like any other."""
        from harness.backbones.registry import get_backbone

        return get_backbone(self.backbone).architecture(**self.decisions)


def named_networks() -> tuple[NamedNetwork, ...]:
    """Return all published networks, by task and size."""
    return tuple(_ALL.values())


def get_named(name: str) -> NamedNetwork:
    """Return the published network called `name`.

    Raises:
        BackboneError: There is none; suggests the near miss.
    """
    try:
        return _ALL[name]
    except KeyError:
        from harness.strict import suggest  # pydantic: only when there is something to say

        reason = ""
        if name == "micronet-vww-1":
            reason = ": its widths are published in a picture only (MicroNets, figure 6)"
        raise BackboneError(
            f"no published network '{name}'{reason or suggest(name, list(_ALL))}",
            expected=", ".join(_ALL),
        ) from None


def _ds_cnn(
    name: str, mops: float, score: float, stem: int, *blocks: int, differs: str = ""
) -> NamedNetwork:
    kws = "-ad-" not in name
    padded = (*blocks, *[0] * (8 - len(blocks)))
    return NamedNetwork(
        name,
        "ds_cnn_kws" if kws else "ds_cnn_ad_3x3",
        {"stem": (stem,), "blocks": padded},
        mops,
        score,
        _KWS if kws else _AD,
        _TABLE,
        differs,
    )


def _vww(
    name: str,
    mops: float,
    score: float,
    side: int,
    stem: int,
    expansions: Sequence[int],
    outputs: Sequence[int],
    differs: str,
) -> NamedNetwork:
    decisions = {
        "resolution": (side,),
        "stem": (stem,),
        "expansions": tuple(expansions),
        "outputs": tuple(outputs),
        "head": (128,),
    }
    return NamedNetwork(name, "mobilenet_v2_vww", decisions, mops, score, _VWW, _TABLE, differs)


_STRIDE = "Zhang et al. 2017 have the first convolution at stride {}: {} Mops"
_ADDS = (
    "{} of its 10 additions pad the narrower input with zero channels, {} Mops; here they are left "
    "out, and what follows is narrower"
)

_ALL = {
    network.name: network
    for network in (
        _ds_cnn("micronet-kws-s", 16.4, 95.3, 84, 112, 84, 84, 84, 196),
        _ds_cnn("micronet-kws-m", 30.6, 95.8, 140, 140, 140, 140, 112, 196),
        _ds_cnn("micronet-kws-l", 129.0, 96.5, 276, 248, 276, 276, 248, 248, 248, 248),
        _ds_cnn("ds-cnn-s", 7.1, 94.15, 64, *[64] * 4, differs=_STRIDE.format("2×2", 5.3)),
        _ds_cnn("ds-cnn-m", 37.3, 95.0, 172, *[172] * 4, differs=_STRIDE.format("2×1", 19.6)),
        _ds_cnn("ds-cnn-l", 107.2, 95.9, 276, *[276] * 5, differs=_STRIDE.format("2×1", 56.7)),
        _vww(
            "micronet-vww-2", 5.3, 78.1, 50, 12,
            (4, 28, 28, 128, 152, 152, 152, 112, 112, 76, 76, 56, 56, 56, 96, 96, 96),
            (8, 24, 20, 28, 16, 28, 24, 24, 12, 32, 16, 28, 28, 16, 16, 16, 32),
            _ADDS.format(5, 6.3),
        ),
        _vww(
            "micronet-vww-3", 45.2, 86.44, 128, 9,
            (3, 9, 28, 28, 115, 115, 172, 307, 307, 307, 230, 288, 288, 115, 96, 96, 96),
            (6, 14, 16, 32, 25, 32, 51, 51, 44, 57, 48, 48, 76, 16, 16, 16, 32),
            _ADDS.format(5, 45.1),
        ),
        _vww(
            "micronet-vww-4", 37.7, 82.49, 128, 8,
            (4, 8, 14, 28, 96, 96, 152, 268, 268, 268, 192, 172, 172, 288, 96, 96, 96),
            (4, 12, 16, 32, 28, 28, 44, 40, 52, 44, 68, 68, 48, 16, 16, 32, 32),
            _ADDS.format(7, 37.7) + "; block 16 has one addition more",
        ),
        _ds_cnn("micronet-ad-s", 37.5, 95.35, 72, 164, 220, 0, 0, 276, 0, 276, 0),
        _ds_cnn("micronet-ad-m", 124.7, 96.05, 192, 276, 276, 276, 0, 276, 0, 276, 0),
        _ds_cnn("micronet-ad-l", 129.0, 97.28, 276, 248, 276, 276, 0, 248, 0, 248, 0),
    )
}  # fmt: skip
