"""Data small enough to learn in seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness import data
from harness.data.dataset import Dataset, Split


def part_of(dataset: Dataset, train: int, others: int) -> Dataset:
    """Return the first samples of each split."""
    splits = {
        name: Split(split.x[:count], split.y[:count])
        for name, split, count in (
            ("train", dataset.train, train),
            ("validation", dataset.validation, others),
            ("test", dataset.test, others),
        )
    }
    return replace(dataset, name="few", division={}, **splits)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return data.digits((49, 10, 1))


@pytest.fixture(scope="session")
def some_digits(digits: Dataset) -> Dataset:
    """Return half of the digits, enough to learn from."""
    return part_of(digits, 600, 96)


@pytest.fixture(scope="session")
def few(digits: Dataset) -> Dataset:
    """Return a tenth of the digits, for tests that do not depend on accuracy."""
    return part_of(digits, 96, 48)
