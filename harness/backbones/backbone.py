"""A named search space: sample, count, build and calibrate its networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.backbones.architecture import Architecture, parse_architecture
from harness.backbones.draw import Draw, key_of, spread
from harness.backbones.layers import Cost, LayerSpec, Shape
from harness.backbones.space import FULL_SCALE, Decisions, Limits, Space
from harness.errors import BackboneError

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

WIDTH_STEP = 4
"""Grid of widths: what CMSIS-NN's fast path needs (MicroNets section 3)."""

_FEWEST_CLASSES = 2
_MAX_WIDTH_STEP = 32
_MAX_ATTEMPTS = 2000
_ATTEMPTS_IN_PLACE = 25
_NO_LIMITS = Limits()


@dataclass(frozen=True)
class Backbone:
    """One search space."""

    name: str  # identifier in campaigns, fits and results
    task: str  # what its networks are for
    space: Space  # decisions and layers
    classes: int  # number of logits
    signed_input: bool  # whether inputs are centred (features) rather than 0 to 1 (images)
    min_ops: int  # smallest op count that is aimed at when sampling
    octaves: int  # sampled op counts reach from `min_ops` to `min_ops` · 2^`octaves`

    @property
    def input_shape(self) -> Shape:
        """Height, width, channels; where they are a decision, the largest."""
        return self.space.input_shape(None)

    def input_shape_of(self, architecture: Architecture) -> Shape:
        """Return height, width, channels of one network's input."""
        return self.space.input_shape(architecture)

    def with_classes(self, classes: int) -> Backbone:
        """Return the backbone for a task with another number of classes.

        Decisions, names and architecture ids stay: only the last convolution differs, and with it
        what `cost`, `layers` and `build` give.

        Raises:
            BackboneError: There are fewer than two.
        """
        if classes < _FEWEST_CLASSES:
            raise BackboneError(
                f"{self.name} for {classes} classes", expected=f"{_FEWEST_CLASSES} or more"
            )
        return replace(self, classes=classes, space=self.space.with_classes(classes))

    def with_resolution(self, side: int) -> Backbone:
        """Return the backbone whose samples all have inputs of `side` by `side`.

        What is sampled changes and nothing else: names, decisions and ids stay.

        Raises:
            BackboneError: Its networks do not come at that size.
        """
        return replace(self, space=self.space.with_resolution(side))

    def architecture(self, **decisions: Sequence[int]) -> Architecture:
        """Make an architecture from its decisions.

        Networks that are the same become equal: blocks that are skipped move behind the others of
        their resolution.

        Raises:
            BackboneError: A decision is unknown, missing, of the wrong length or out of range.
        """
        return self._make({name: tuple(values) for name, values in decisions.items()}, self.name)

    def from_json(self, data: str | Mapping[str, Any]) -> Architecture:
        """Read what `Architecture.to_json` or `.dumps` wrote.

        Raises:
            BackboneError: It is malformed, of another backbone or outside the search space.
        """
        name, decisions = parse_architecture(data)
        return self._make(decisions, name)

    def validate(self, architecture: Architecture) -> None:
        """Check that `architecture` is in this search space.

        Raises:
            BackboneError: Names the decision, its value and the allowed range.
        """
        self._make(dict(architecture.decisions), architecture.backbone)

    def layers(self, architecture: Architecture) -> tuple[LayerSpec, ...]:
        """Return the operators in execution order: what `cost` counts and `build` builds."""
        return self.space.layers(architecture)

    def cost(self, architecture: Architecture) -> Cost:
        """Count MACs, operations, parameters and working memory, in all and per operator."""
        layers = self.layers(architecture)
        return Cost(
            macs=sum(layer.macs for layer in layers),
            parameters=sum(layer.parameters for layer in layers),
            working_memory_bytes=max(layer.working_memory_bytes for layer in layers),
            layers=layers,
        )

    def sample(
        self, seed: int, index: int, *, limits: Limits = _NO_LIMITS, width_step: int = WIDTH_STEP
    ) -> Architecture:
        """Return sample `index` of the sequence that `seed` names.

        It depends on nothing else: not on how many are drawn, nor on machine or numpy release. Op
        counts are spread evenly over the octaves from `min_ops` up, for every prefix of the
        sequence; depth and relative widths are uniform.

        Args:
            seed: Non-negative.
            index: From 0.
            limits: Bounds that the sample keeps, by drawing again.
            width_step: Grid of widths; 1 shows what channels that are not divisible by 4 cost.

        Raises:
            BackboneError: An argument is out of range, or no network was found within `limits`.
        """
        if seed < 0 or index < 0 or not 1 <= width_step <= _MAX_WIDTH_STEP:
            raise BackboneError(
                f"cannot sample with seed={seed}, index={index}, width_step={width_step}",
                expected=f"seed and index from 0, width_step 1..{_MAX_WIDTH_STEP}",
            )
        key = key_of(self.name)
        refusals: dict[str, int] = {}
        for attempt in range(_MAX_ATTEMPTS):
            draw = Draw(seed, index, key, attempt)
            # Try to keep this sample's place in the sequence, then move away from an op count that
            # the limits may make impossible.
            moved = attempt >= _ATTEMPTS_IN_PLACE
            place = draw.below(1 << 64) if moved else spread(seed, index, key)
            architecture = self._nearest(draw, self._target_ops(place), width_step)
            if architecture is None:
                continue
            broken = limits.broken_by(self.cost(architecture))
            if broken is None:
                return architecture
            refusals[broken] = refusals.get(broken, 0) + 1
        worst = max(refusals, key=lambda name: refusals[name])  # every space reaches its targets
        raise BackboneError(
            f"no {self.name} network found within the limits in {_MAX_ATTEMPTS} draws",
            expected=f"limits that the backbone can meet; {worst}={getattr(limits, worst)} "
            f"refused {refusals[worst]} of them",
            fix=f"raise {worst}",
            limit=worst,
        )

    def build(self, architecture: Architecture, seed: int = 0) -> keras.Model:
        """Build the Keras model: batch of one, logits out, weights that `seed` alone decides.

        Raises:
            BackboneError: `architecture` is outside the search space, or Keras is not installed.
        """
        self.validate(architecture)
        try:
            from harness.backbones.keras_model import build_model
        except ModuleNotFoundError as failure:
            if failure.name not in ("keras", "tensorflow"):
                raise
            raise BackboneError(
                f"{failure.name} is not installed, so no {self.name} network can be built",
                expected="Keras with TensorFlow",
                fix="pip install 'tinyml-harness[train]'",
            ) from None

        return build_model(
            f"{self.name}_{architecture.id}",
            self.input_shape_of(architecture),
            self.layers(architecture),
            Draw(seed, key_of(architecture.dumps())),
        )

    def representative(
        self, seed: int, count: int, architecture: Architecture | None = None
    ) -> NDArray[np.float32]:
        """Return synthetic calibration inputs.

        Returns:
            float32 of shape (count, height, width, channels), uniform: with zero mean and unit
            variance for features, in [0, 1) for images.
        """
        import numpy as np

        shape = (count, *self.space.input_shape(architecture))
        size = int(np.prod(shape))
        draw = Draw(seed, key_of(f"{self.name} inputs"))
        unit = draw.uniform(size).reshape(shape)
        if not self.signed_input:
            return unit
        return (unit * 2 - 1) * np.float32(3**0.5)

    def _target_ops(self, place: int) -> int:
        """Return the op count at `place` / 2^64 of the range: log-uniform, linear in an octave."""
        octave, rest = divmod(place * self.octaves, 1 << 64)
        base = self.min_ops << octave
        return base + (base * rest >> 64)

    def _nearest(self, draw: Draw, target_ops: int, width_step: int) -> Architecture | None:
        """Scale one proposal to the most ops that do not exceed `target_ops`.

        Returns None when the proposal is too shallow to reach them: at its largest it would be
        one of few networks, all of one width.
        """
        at = self.space.propose(draw, width_step)

        def ops(scale: int) -> int:
            return 2 * sum(layer.macs for layer in self.layers(self._trusted(at(scale))))

        low, high = 1, 4 * FULL_SCALE
        if ops(high) < target_ops:
            return None
        while low < high:
            middle = (low + high + 1) // 2
            if ops(middle) <= target_ops:
                low = middle
            else:
                high = middle - 1
        return self._trusted(self.space.normalize(at(low)))

    def _trusted(self, decisions: Decisions) -> Architecture:
        return Architecture(self.name, tuple((name, decisions[name]) for name in self.space.slots))

    def _make(self, decisions: Decisions, backbone: str) -> Architecture:
        if backbone != self.name:
            raise BackboneError(
                f"architecture is of backbone '{backbone}'", expected=f"one of '{self.name}'"
            )
        slots = self.space.slots
        for name in decisions:
            if name not in slots:
                from harness.strict import suggest  # pydantic: only when there is something to say

                raise BackboneError(
                    f"unknown decision '{name}' of {self.name}{suggest(name, list(slots))}",
                    expected=", ".join(slots),
                    decision=name,
                )
        for name, expected in slots.items():
            values = decisions.get(name)
            if values is None or len(values) != len(expected):
                found = "is missing" if values is None else f"has {len(values)} values"
                raise BackboneError(
                    f"decision '{name}' of {self.name} {found}",
                    expected=f"{len(expected)} values",
                    decision=name,
                )
            for place, (value, slot) in enumerate(zip(values, expected, strict=True)):
                if not slot.allows(value):
                    raise BackboneError(
                        f"decision '{name}[{place}]' of {self.name} is {value}",
                        expected=str(slot),
                        decision=name,
                        value=value,
                    )
        return self._trusted(self.space.normalize(decisions))
