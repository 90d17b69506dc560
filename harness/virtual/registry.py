"""This process's virtual boards; of a type there may be several, which have numbers from 1."""

from __future__ import annotations

import threading

from harness.boards import load_board
from harness.errors import VirtualError
from harness.virtual.machine import VirtualMachine
from harness.virtual.time import timing_model

_machines: dict[tuple[str, int], VirtualMachine] = {}
_machines_lock = threading.Lock()


def get_machine(board_id: str, number: int = 1) -> VirtualMachine:
    """Return this process's virtual board, powering it on at first use.

    Raises:
        BoardError: The board is unknown.
        VirtualError: The board cannot be emulated.
    """
    with _machines_lock:
        machine = _machines.get((board_id, number))
        if machine is None:
            machine = VirtualMachine(load_board(board_id), number=number)
            _machines[board_id, number] = machine
        return machine


def adopt_machine(machine: VirtualMachine) -> None:
    """Make `machine` this process's virtual board of its type and number.

    Raises:
        VirtualError: The process already has it.
    """
    key = machine.board.id, machine.number
    with _machines_lock:
        if key in _machines:
            raise VirtualError(f"the virtual board '{machine.board.id}' is already powered on")
        _machines[key] = machine


def discard_machine(board_id: str, number: int = 1) -> None:
    """Power the virtual board off, if it is on; its next use starts with an erased flash."""
    with _machines_lock:
        machine = _machines.pop((board_id, number), None)
    if machine is not None:
        machine.close()


def power_on(board_id: str, timing: str | None = None, *, number: int = 1) -> VirtualMachine:
    """Return this process's virtual board with a timing model.

    A board that is on with another model is switched off and on again, with an erased flash.

    Args:
        board_id: Board.
        timing: ``issue`` or ``pipeline``; None for what HARNESS_TIMING says, or else the default.
        number: Which of several boards of this type.

    Raises:
        BoardError: The board is unknown.
        VirtualError: It cannot be emulated, there is no such model, or the board is in use with
            another one.
    """
    board = load_board(board_id)
    model = timing_model(board, timing)
    with _machines_lock:
        machine = _machines.get((board.id, number))
        if machine is not None and machine.model.name == model.name:
            return machine
        if machine is not None and machine.console.baud is not None:  # it is open
            raise VirtualError(
                f"the virtual board '{board.id}' is in use with the timing model "
                f"'{machine.model.name}'",
                expected=f"'{model.name}', or a board that is not in use",
                fix="use stations of one board with different models one after the other",
            )
        if machine is not None:
            machine.close()
        machine = _machines[board.id, number] = VirtualMachine(board, model=model, number=number)
        return machine
