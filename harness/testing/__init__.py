"""Fakes for tests of programs that use the harness: rows, models and a device, all in memory.

Nothing in the harness imports this package, and nothing in it needs a board, an emulator, a
compiler or TensorFlow.

Example:
    Ten rows of different networks, as a campaign stores them, and a failed job:

    >>> from harness.results import open_store
    >>> from harness.testing import fake_failure, fake_measurement
    >>> rows = [fake_measurement(i, board="nucleo_f446re") for i in range(10)]
    >>> failed = fake_failure(10, issues=("too-large",))
    >>> with open_store("rows.sqlite") as store:
    ...     keys = [store.add(row).key for row in [*rows, failed]]

    A model with one operator, as the content of a .tflite file:

    >>> from harness.testing import ModelWriter
    >>> writer = ModelWriter()
    >>> x = writer.tensor((1, 4), scale=0.5)
    >>> y = writer.tensor((1, 4), scale=1 / 256, zero_point=-128)
    >>> writer.operator("SOFTMAX", [x], [y], beta=1.0)
    >>> content = writer.finish([x], [y])

    A device behind a port with pyserial's interface, whose second inference is slow:

    >>> from harness.testing import FakeDevice, FakePort
    >>> port = FakePort(FakeDevice(cycles=(1000, 1250, 1000)))
"""

from harness.models.writer import ModelWriter
from harness.testing.backbones import check_backbone
from harness.testing.device import FakeDevice, FakePort, FakeTarget
from harness.testing.models import tiny_network
from harness.testing.rows import fake_failure, fake_measurement

__all__ = [
    "FakeDevice",
    "FakePort",
    "FakeTarget",
    "ModelWriter",
    "check_backbone",
    "fake_failure",
    "fake_measurement",
    "tiny_network",
]
