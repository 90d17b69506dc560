"""The models over real code: the CMSIS-NN kernels, compiled as the firmware compiles them."""

from __future__ import annotations

import itertools
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from harness.boards import load_board
from harness.virtual.time import timing_model
from harness.virtual.time.decode import decode_block
from support import needs

BOARDS = {"cortex-m7": "nucleo_f746zg", "cortex-m4": "nucleo_f446re"}

pytestmark = needs.compiler
Kernels = tuple[str, dict[str, list[bytes]]]
FPU = {"cortex-m7": "fpv5-sp-d16", "cortex-m4": "fpv4-sp-d16"}


def basic_blocks(code: bytes) -> list[bytes]:
    """Split a run of code at its branches and their targets."""
    leaders, position = {0, len(code)}, 0
    for instruction in decode_block(code):
        end = position + 2 * instruction.halfwords
        if instruction.branch:
            leaders.add(end)
            if instruction.displacement is not None and instruction.branch != "call":
                leaders.add(position + instruction.displacement)
        position = end
    cuts = sorted(cut for cut in leaders if 0 <= cut <= len(code))
    return [code[a:b] for a, b in itertools.pairwise(cuts)]


def code_runs(path: Path) -> list[bytes]:
    """Return the code of an object file without the literals between (mapping symbols)."""
    from elftools.elf.elffile import ELFFile

    runs = []
    with path.open("rb") as file:
        elf = ELFFile(file)
        marks: dict[int, list[tuple[int, str]]] = defaultdict(list)
        for symbol in elf.get_section_by_name(".symtab").iter_symbols():
            if symbol.name[:2] in ("$t", "$d") and isinstance(symbol["st_shndx"], int):
                marks[symbol["st_shndx"]].append((symbol["st_value"], symbol.name[:2]))
        for index, section_marks in marks.items():
            section: Any = elf.get_section(index)
            data = section.data()
            ordered = [*sorted(section_marks), (len(data), "")]
            for (start, kind), (end, _) in itertools.pairwise(ordered):
                if kind == "$t" and section["sh_flags"] & 4:
                    runs.append(data[start:end])
    return runs


@pytest.fixture(scope="module", params=["cortex-m7", "cortex-m4"])
def kernels(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, list[bytes]]]:
    import bakenn

    core = str(request.param)
    vendor = Path(bakenn.__file__).parent / "backend/cmsis_nn/vendor"
    out = tmp_path_factory.mktemp(core)
    sources = [
        *sorted((vendor / "cmsis_nn/Source/NNSupportFunctions").glob("*.c")),
        *sorted((vendor / "cmsis_nn/Source/PoolingFunctions").glob("*.c")),
        *sorted((vendor / "cmsis_nn/Source/ConvolutionFunctions").glob("*depthwise*.c")),
    ]
    includes = [f"-I{vendor}/cmsis_nn/Include", f"-I{vendor}/cmsis_core/Include"]
    flags = ["-O2", f"-mcpu={core}", "-mthumb", f"-mfpu={FPU[core]}", "-mfloat-abi=hard"]
    command = [
        "arm-none-eabi-gcc",
        "-c",
        *flags,
        "-DARM_MATH_DSP",
        "-ffunction-sections",
        *includes,
    ]
    subprocess.run([*command, *map(str, sources)], check=True, cwd=out)
    return core, {
        path.stem: [block for run in code_runs(path) for block in basic_blocks(run)]
        for path in sorted(out.glob("*.o"))
    }


def test_every_instruction_is_known(kernels: Kernels) -> None:
    core, blocks = kernels
    model = timing_model(load_board(BOARDS[core]), "issue")
    for of_kernel in blocks.values():
        for block in of_kernel:
            assert model.block_cycles(block, 0x0800_0000) >= 1
            assert not [i.name for i in decode_block(block) if i.unit == "unknown"]


def test_inner_loops_are_plausible(kernels: Kernels) -> None:
    """The M7 issues one to two instructions a cycle in the big MAC loop, the M4 less than one."""
    core, blocks = kernels
    loop = max(blocks["arm_nn_mat_mult_nt_t_s8"], key=len)
    cycles = timing_model(load_board(BOARDS[core]), "issue").block_cycles(loop, 0)
    instructions = list(decode_block(loop))
    macs = sum(i.unit == "mac" for i in instructions)
    assert macs >= 16
    per_instruction = cycles / len(instructions)
    low, high = (0.5, 1.0) if core == "cortex-m7" else (1.0, 1.6)
    assert low < per_instruction < high
    assert cycles >= macs  # one multiplier
