"""Compile C callbacks, and call Python's from them."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import unicorn
import unicorn.unicorn_py3.unicorn as unicorn_api
from llvmlite import binding, ir  # type: ignore[import-untyped]  # ships no stubs
from numba import types
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic
from unicorn.unicorn_const import UC_ERR_OK

from harness.virtual.time import events

_SOURCES = (*sorted(Path(__file__).parent.glob("*.py")), Path(events.__file__))
_STAMP = hashlib.sha256(b"".join(source.read_bytes() for source in _SOURCES)).hexdigest()

#: First fields of the record of a register page: its Python callbacks (`Cpu` sets them).
PAGE_CALLS = [("call_read", np.int64), ("call_write", np.int64)]
#: Their types: engine, offset in the page, size, value to write, record.
READ = types.uint64(types.voidptr, types.uint64, types.uint32, types.voidptr)
WRITE = types.void(types.voidptr, types.uint64, types.uint32, types.uint64, types.voidptr)
BLOCK = types.void(types.voidptr, types.uint64, types.uint32, types.voidptr)  # address, size

binding.load_library_permanently(unicorn_api.uclib._name)


@dataclass(frozen=True, slots=True)
class Page:
    """A register page with compiled callbacks.

    Attributes:
        address: First address.
        read: Address of the read callback.
        write: Address of the write callback.
        state: Record that the callbacks get, which begins with `PAGE_CALLS`.
    """

    address: int
    read: int
    write: int
    state: Any


def call_unicorn(name: str, engine: Any, *arguments: Any) -> None:
    """Call a function of Unicorn's library; its Python binding would wrap each callback.

    Raises:
        UcError: Unicorn refused it.
    """
    function = ctypes.CDLL(unicorn_api.uclib._name)[name]  # takes untyped arguments
    function.restype = ctypes.c_int
    status = function(engine._uch, *arguments)
    if status != UC_ERR_OK:
        raise unicorn.UcError(status)


def add_hook(engine: Any, kind: int, hook: int, state: int, at: range | None = None) -> int:
    """Hook the callback at the address `hook`, with its record at `state`, for every address.

    Or for those in `at` alone.

    Returns:
        A handle for `remove_hook`.
    """
    handle = ctypes.c_size_t()
    first, last = (1, 0) if at is None else (at.start, at.stop - 1)
    call_unicorn(
        "uc_hook_add", engine, ctypes.byref(handle), kind, ctypes.c_void_p(hook),
        ctypes.c_void_p(state), ctypes.c_uint64(first), ctypes.c_uint64(last),
    )  # fmt: skip
    return handle.value


def remove_hook(engine: Any, handle: int) -> None:
    """Remove a hook that `add_hook` has added."""
    call_unicorn("uc_hook_del", engine, ctypes.c_size_t(handle))


class _Cache(FunctionCache):
    """Numba's cache, which else looks at one source file of a callback and not at all of them."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), _STAMP)


def callback(signature: Any) -> Callable[[Any], Any]:
    """Compile a C callback, as `numba.cfunc` does; its `.address` is what the emulator gets."""

    def compiled(function: Any) -> Any:
        found: Any = CFunc(function, normalize_signature(signature), locals={}, options={})
        found._cache = _Cache(function)
        found.compile()
        return found

    return compiled


@intrinsic
def pointer(_typing: Any, address: Any) -> Any:
    """Turn an address into a pointer."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


@intrinsic
def call(_typing: Any, address: Any, result: Any, arguments: Any) -> Any:
    """Call the C function at `address`, whose result has the numba type `result`.

    Numba calls functions that are known when it compiles; these are ctypes callbacks of one board.
    """
    returned = result.instance_type

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        values = cgutils.unpack_tuple(builder, args[2])
        kind = ir.FunctionType(context.get_value_type(returned), [value.type for value in values])
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)

    return returned(address, result, arguments), generate
