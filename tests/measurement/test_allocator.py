"""The caching allocator's replay against its documented rules, and against what must hold for any sequence."""

from __future__ import annotations

import itertools
import random

import pytest

from mpno.measurement.accounting import Block, Step
from mpno.measurement.allocator import MIB, CachingAllocator, reserved_bytes


@pytest.mark.parametrize(
    ("size", "reserved"),
    [(1, 2 * MIB), (MIB, 2 * MIB), (MIB + 1, 20 * MIB), (10 * MIB - 512, 20 * MIB), (10 * MIB, 10 * MIB),
     (11 * MIB, 12 * MIB), (135 * MIB + 1, 136 * MIB)],
)  # fmt: skip
def test_the_size_of_a_segment(size: int, reserved: int) -> None:
    allocator = CachingAllocator()
    allocator.allocate(size)
    assert allocator.reserved == reserved


def test_requests_are_rounded_to_512_bytes() -> None:
    allocator = CachingAllocator()
    allocator.allocate(513)
    assert allocator.allocated == 1024


def test_a_segment_is_shared_and_used_again() -> None:
    allocator = CachingAllocator()
    addresses = [allocator.allocate(5 * MIB) for _ in range(4)]
    assert allocator.reserved == 20 * MIB
    for address in addresses:
        allocator.free(address, 5 * MIB)
    # Free neighbours have joined: one request takes all of it.
    allocator.allocate(20 * MIB)
    assert allocator.reserved == 20 * MIB


def test_a_large_piece_is_not_split_for_what_is_left_of_it() -> None:
    allocator = CachingAllocator()
    address = allocator.allocate(12 * MIB)
    allocator.free(address, 12 * MIB)
    allocator.allocate(11 * MIB)  # leaves 1 MiB, which stays with it
    assert allocator.allocated == 12 * MIB


def test_holes_that_do_not_fit_cost_a_new_segment() -> None:
    """Fragmentation: 40 MiB are free, in two places, and 30 MiB do not fit."""
    allocator = CachingAllocator()
    first, wall, last = (allocator.allocate(20 * MIB) for _ in range(3))
    allocator.free(first, 20 * MIB)
    allocator.free(last, 20 * MIB)
    allocator.allocate(30 * MIB)
    assert allocator.reserved == 90 * MIB and wall


def test_any_sequence_keeps_pieces_apart() -> None:
    draw = random.Random(0)
    for _ in range(20):
        allocator = CachingAllocator()
        held: dict[int, int] = {}
        for _ in range(400):
            if held and draw.random() < 0.5:
                address = draw.choice(list(held))
                allocator.free(address, held.pop(address))
            else:
                size = int(2 ** draw.uniform(0, 26))
                held[allocator.allocate(size)] = size
            spans = sorted((a, a + s) for a, s in held.items())
            assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
            assert sum(held.values()) <= allocator.allocated <= allocator.reserved
        for address, size in held.items():
            allocator.free(address, size)
        assert allocator.allocated == 0


def test_a_step_that_comes_back_reserves_no_more() -> None:
    blocks = [
        Block(4 * MIB, -1, "", "parameters"), Block(8 * MIB, -1, "", "optimiser"), Block(30 * MIB, -1, "", "data"),
        Block(100 * MIB, 0, "a", "activations", 3), Block(50 * MIB, 1, "b", "temporaries", 2),
    ]  # fmt: skip
    step = Step(tuple(blocks), (2, 4, 5))
    # The optimiser's states, born last, find room in what the step has given back.
    assert reserved_bytes(step) == (20 + 30 + 100 + 50) * MIB
    assert reserved_bytes(step, beside=60 * MIB) == (60 + 20 + 30 + 100 + 50) * MIB
