"""What the models have in common that price a block by its instructions alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping

from harness.virtual.time.decode import Instruction, decode_block


class IssueModel(ABC):
    """Base of the models without caches, flash or branches: each block has one price."""

    name: str
    version: str
    observes = False

    def __init__(self) -> None:
        self._prices: dict[bytes, int] = {}
        self._unknown: Counter[str] = Counter()

    @property
    def unknown(self) -> Mapping[str, int]:
        """Mnemonics priced at the default, with how many distinct blocks met them."""
        return dict(self._unknown)

    @abstractmethod
    def price(self, block: list[Instruction]) -> int:
        """Return the modelled cycles of one execution."""

    def price_block(self, code: bytes, address: int) -> int:
        """Return the modelled cycles of one execution; at least 1 for a block that is not empty."""
        del address  # no rule depends on it: the fetch unit is not modelled
        price = self._prices.get(code)
        if price is None:
            block = list(decode_block(code))
            self._unknown.update({i.name for i in block if i.unit == "unknown"})
            price = self._prices[code] = self.price(block)
        return price

    def price_events(self, code: bytes, address: int) -> tuple[int, ...]:
        """Return nothing: these models price no events."""
        del code, address
        return ()
