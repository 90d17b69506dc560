"""Turn each operator of a graph into a step, or give the reason why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.errors import ModelError, RuntimeUnsupported
from harness.models.graph import Graph, Operator, TFLiteModel
from harness.runtimes.aot import lower_conv, lower_small
from harness.runtimes.aot.program import Program, Step
from harness.runtimes.aot.quantize import ScaleOutOfRange
from harness.runtimes.aot.refusal import Context, Refused

_LOWERINGS: Mapping[str, Callable[[Context, Operator], Step]] = {
    **lower_conv.LOWERINGS,
    **lower_small.LOWERINGS,
}


def supported_operators() -> tuple[str, ...]:
    """Return the TFLite operator names that the runtime takes, sorted."""
    return tuple(sorted(_LOWERINGS))


def lower(model: TFLiteModel, kernels: str) -> Program:
    """Lower all operators of `model` for one kernel set.

    Raises:
        RuntimeUnsupported: Lists every operator at fault with its index and the reason.
    """
    context = Context(model.graph, kernels)
    steps: list[Step] = []
    aliases: dict[int, int] = {}
    reasons: list[str] = []
    for operator in model.graph.operators:
        try:
            lowering = _LOWERINGS.get(operator.name)
            if lowering is None:
                raise Refused("the runtime does not have this operator")
            step = lowering(context, operator)
        except (Refused, ScaleOutOfRange) as refused:
            reasons.append(f"operator {operator.index} {operator.name}: {refused}")
            continue
        except ModelError as failure:  # a tensor without the quantisation that it needs
            reasons.append(f"operator {operator.index} {operator.name}: {failure.what}")
            continue
        steps.append(step)
        if step.kernel == "alias":
            source = operator.inputs[0]
            aliases[operator.outputs[0]] = aliases.get(source, source)
    reasons += _io_reasons(model.graph)
    if reasons:
        shown = reasons[:12]
        if len(reasons) > len(shown):
            shown.append(f"... and {len(reasons) - len(shown)} more")
        raise RuntimeUnsupported(
            "\n".join([f"the aot runtime cannot take model '{model.name}':", *shown]),
            where=model.name,
            expected=f"int8 operators out of {', '.join(supported_operators())}",
            fix="change the model, or measure it with the tflm runtime",
            reasons=reasons,
        )
    return Program(steps, aliases)


def _io_reasons(graph: Graph) -> list[str]:
    """A model input or output must be memory of the arena."""
    return [
        f"model {kind} {index} '{graph.tensors[index].name}' is a constant"
        for kind, indices in (("input", graph.inputs), ("output", graph.outputs))
        for index in indices
        if graph.tensors[index].is_constant
    ]
