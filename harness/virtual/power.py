"""Power a virtual board on with the timing model that a station asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.boards import load_board
from harness.errors import VirtualError
from harness.virtual.timing import get_model

if TYPE_CHECKING:
    from harness.virtual.machine import VirtualMachine


def power_on(board_id: str, timing: str | None = None) -> VirtualMachine:
    """Return this process's virtual board with a timing model.

    A board that is on with another model is switched off and on again, with an erased flash.

    Args:
        board_id: Board.
        timing: ``issue`` or ``pipeline``; None for what HARNESS_TIMING says, or else the default.

    Raises:
        BoardError: The board is unknown.
        VirtualError: It cannot be emulated, there is no such model, or the board is in use with
            another one.
    """
    from harness.virtual.machine import (
        VirtualMachine,
        adopt_machine,
        discard_machine,
        get_machine,
    )

    board = load_board(board_id)
    wanted = get_model(board.facts.core.cpu, board, name=timing).name
    machine = get_machine(board.id)
    if machine.model.name == wanted:
        return machine
    if machine.console.baud is not None:  # somebody has it open
        raise VirtualError(
            f"the virtual board '{board.id}' is in use with the timing model "
            f"'{machine.model.name}'",
            expected=f"'{wanted}', or a board that nobody uses",
            fix="use stations of one board with different models one after the other",
        )
    discard_machine(board.id)
    machine = VirtualMachine(board, timing=timing)
    adopt_machine(machine)
    return machine
