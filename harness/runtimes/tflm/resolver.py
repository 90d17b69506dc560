"""Generate the op resolver of a model from the library's own headers.

`AllOpsResolver` is gone since 2023 and would link every kernel. Which ``AddXxx`` exist, what they
register by default, and which of them take another registration differs between generations of
TFLM, so all of it is read from ``micro_mutable_op_resolver.h``. Where a kernel's header declares
``Register_X_INT8`` too, which leaves the other data types' code out, an int8 operator gets that.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from harness.errors import ConfigError, RuntimeUnsupported
from harness.models.graph import Graph, Operator, TFLiteModel
from harness.runtimes.tflm.layout import MICRO, RESOLVER, Layout

_METHOD = re.compile(
    r"TfLiteStatus\s+(?P<method>Add\w+)\s*\((?P<parameters>[^{]*)\)\s*\{\s*"
    r"return\s+AddBuiltin\(\s*BuiltinOperator_(?P<operator>\w+)\s*,(?P<rest>[^{}]*?)\)\s*;\s*\}",
    re.DOTALL,
)
_REGISTER = re.compile(r"((?:\w+::)*)Register_(\w+)\s*\(\s*\)")
_INT8 = re.compile(r"\bRegister_(\w+)_INT8\s*\(\s*\)")
# What int8 kernels read and write besides int8: biases, shapes, axes.
_BESIDE_INT8 = ("int8", "int32")


@dataclass(frozen=True, slots=True)
class Method:
    """An ``AddXxx`` of the resolver."""

    name: str  # its name
    operator: str  # TFLite builtin name
    registration: str  # name after ``Register_`` that it uses by default
    takes_registration: bool  # whether another can be passed


@dataclass(frozen=True, slots=True)
class Entry:
    """An operator of a generated resolver."""

    method: Method  # how it is added
    int8_header: str | None  # header that declares its int8 registration, where that is used

    @property
    def int8_only(self) -> bool:
        """Whether only the int8 code of the kernel is linked."""
        return self.int8_header is not None

    @property
    def registration(self) -> str:
        """Name after ``Register_`` of what is linked."""
        return self.method.registration + ("_INT8" if self.int8_only else "")


def parse_methods(header: str) -> dict[str, Method]:
    """Return the methods of ``micro_mutable_op_resolver.h`` by operator.

    Raises:
        ConfigError: There is none: not the header, or of a generation that we do not know.
    """
    found: dict[str, Method] = {}
    for match in _METHOD.finditer(header):
        parameters = match["parameters"]
        registers = _REGISTER.search(parameters) or _REGISTER.search(match["rest"])
        if registers is not None:
            method = Method(
                match["method"], match["operator"], registers[2], "registration" in parameters
            )
            found.setdefault(method.operator, method)
    if not found:
        raise ConfigError(
            f"no operators can be read from {RESOLVER}",
            expected="methods AddXxx as in TensorFlow Lite for Microcontrollers since October 2022",
            fix="name another version of the library",
        )
    return found


def parse_int8(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the names X for which a header declares ``Register_X_INT8``, and that header.

    `headers` are texts by the name in #include.
    """
    found: dict[str, str] = {}
    for name, text in headers.items():
        for registration in _INT8.findall(text):
            found.setdefault(registration, name)
    return found


@lru_cache(maxsize=8)
def library_methods(layout: Layout) -> Mapping[str, Method]:
    """Return the methods of a library by operator."""
    return parse_methods(layout.header(RESOLVER))


@lru_cache(maxsize=8)
def library_int8(layout: Layout) -> Mapping[str, str]:
    """Return the registrations of a library that have an int8 variant, and their headers."""
    folder = f"{layout.base}{MICRO}/kernels"
    names = (n for n in layout.library.files if posixpath.dirname(n) == folder and n.endswith(".h"))
    return parse_int8({name.removeprefix(layout.base): layout.text(name) for name in names})


def entries_for_model(
    layout: Layout, model: TFLiteModel, *, all_types: bool = False
) -> tuple[Entry, ...]:
    """Return what a model's resolver holds, in order of first appearance.

    Raises:
        RuntimeUnsupported: Names every operator that the library has no kernel for.
    """
    graph = model.graph
    int8: dict[str, bool] = {}
    for operator in graph.operators:
        int8[operator.name] = int8.get(operator.name, not all_types) and _is_int8(graph, operator)
    return _entries(layout, int8, f"model '{model.name}'")


def entries_for_operators(
    layout: Layout, operators: Sequence[str], *, all_types: bool = False
) -> tuple[Entry, ...]:
    """Return what the resolver of a shared interpreter holds; without `all_types` all of it int8.

    Raises:
        RuntimeUnsupported: Names every operator that the library has no kernel for.
    """
    return _entries(layout, dict.fromkeys(operators, not all_types), "the shared interpreter")


def known_operators(layout: Layout, operators: Iterable[str]) -> tuple[str, ...]:
    """Return those of `operators` that the library has."""
    methods = library_methods(layout)
    return tuple(name for name in operators if name in methods)


def resolver_source(entries: Sequence[Entry], kernels: str) -> str:
    """Return the text of the generated resolver."""
    adds, rows = [], []
    for entry in entries:
        argument = f"tflite::Register_{entry.registration}()" if entry.int8_only else ""
        adds.append(f"    ok = ok && resolver->{entry.method.name}({argument}) == kTfLiteOk;")
        name = entry.method.operator
        rows.append(f'    {{tflite::BuiltinOperator_{name}, "{name}"}},')
    headers = sorted({entry.int8_header for entry in entries if entry.int8_header})
    lines = [
        "// Generated: the operators of one image.",
        f'#include "{RESOLVER}"',
        *(f'#include "{name}"' for name in headers),
        '#include "runtime/tflm/tflm_glue.h"',
        "",
        "#include <new>",
        "",
        f"using Resolver = tflite::MicroMutableOpResolver<{max(1, len(entries))}>;",
        "alignas(Resolver) static unsigned char storage[sizeof(Resolver)];",
        "",
        "const tflite::MicroOpResolver *tflm_resolver(void) {",
        "    Resolver *const resolver = new (storage) Resolver();",
        "    bool ok = true;",
        *adds,
        "    return ok ? resolver : nullptr;",
        "}",
        "",
        "const tflm_operator_t tflm_operators[] = {",
        *rows,
        "};",
        f"const uint32_t tflm_operator_count = {len(entries)};",
        f'const char tflm_kernels[] = "{kernels}";',
        "",
    ]
    return "\n".join(lines)


def _entries(layout: Layout, int8: Mapping[str, bool], whose: str) -> tuple[Entry, ...]:
    """Return the entries of operators; `int8` says of each whether its int8 code is enough."""
    methods, headers = library_methods(layout), library_int8(layout)
    unknown = sorted(int8.keys() - methods.keys())
    if unknown:
        raise RuntimeUnsupported(
            f"the TFLM library has no kernel for {', '.join(unknown)}, which {whose} needs",
            where=f"{layout.library.label}, {RESOLVER}",
            expected="operators that MicroMutableOpResolver can add",
            fix="use a newer library, or a network without these operators",
            operators=tuple(unknown),
        )
    entries = []
    for name, enough in int8.items():
        method = methods[name]
        usable = enough and method.takes_registration
        entries.append(Entry(method, headers.get(method.registration) if usable else None))
    return tuple(entries)


def _is_int8(graph: Graph, operator: Operator) -> bool:
    indices = [i for i in (*operator.inputs, *operator.outputs) if i >= 0]
    return all(graph.tensors[i].dtype in _BESIDE_INT8 for i in indices)
