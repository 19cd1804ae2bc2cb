"""Torch's caching allocator on a GPU, replayed: what it reserves for a step, which is what nvidia-smi sees of it.

It serves requests from segments that it takes from the driver and does not give back. A request is rounded up to 512
bytes. Small ones (to 1 MiB) come from segments of 2 MiB, larger ones below 10 MiB from segments of 20 MiB, others from
segments of their own, rounded up to 2 MiB. The best-fitting free piece is taken, and split if what is left is worth
it; a freed piece joins its free neighbours.

Source: the documentation of PyTorch's CUDA semantics, memory management; its CUDACachingAllocator for the sizes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

from mpno.measurement.accounting import Block, Step

MIB = 2**20
UNIT = 512
SMALL, SMALL_SEGMENT = MIB, 2 * MIB
MIDDLE, MIDDLE_SEGMENT, ROUND = 10 * MIB, 20 * MIB, 2 * MIB
STEPS = 3
"""Steps replayed: from the second on the same pieces come back."""


@dataclass
class _Piece:
    address: int
    size: int
    free: bool = True
    before: _Piece | None = None
    after: _Piece | None = None


class CachingAllocator:
    """One device's segments and the pieces they are cut into.

    Attributes:
        reserved: bytes taken from the driver.
        allocated: bytes handed out, rounded as they are.
        peak: the most that was `allocated` at any time.
    """

    def __init__(self) -> None:
        self.reserved = self.allocated = self.peak = 0
        # Free pieces of the small and of the large pool by size, then address, which is the order of the best fit.
        self._free: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        self._pieces: dict[int, _Piece] = {}
        self._end = 0

    def allocate(self, size: int) -> int:
        """Hand out `size` bytes; returns their address."""
        size = max(UNIT, -(-size // UNIT) * UNIT)
        pool = self._free[size > SMALL]
        at = bisect_left(pool, (size, 0))
        piece = self._pieces[pool.pop(at)[1]] if at < len(pool) else self._segment(size)
        left = piece.size - size
        if left >= UNIT if size <= SMALL else left > SMALL:
            rest = _Piece(piece.address + size, left, before=piece, after=piece.after)
            if piece.after:
                piece.after.before = rest
            piece.after, piece.size = rest, size
            self._pieces[rest.address] = rest
            insort(pool, (rest.size, rest.address))
        piece.free = False
        self.allocated += piece.size
        self.peak = max(self.peak, self.allocated)
        return piece.address

    def free(self, address: int, size: int) -> None:
        """Take back what :meth:`allocate` handed out for `size` bytes."""
        piece = self._pieces[address]
        pool = self._free[size > SMALL]
        piece.free = True
        self.allocated -= piece.size
        for other in (piece.before, piece.after):
            if other is not None and other.free:
                pool.remove((other.size, other.address))
                piece = self._join(*sorted((piece, other), key=lambda p: p.address))
        insort(pool, (piece.size, piece.address))

    def _segment(self, size: int) -> _Piece:
        own = MIDDLE_SEGMENT if size < MIDDLE else -(-size // ROUND) * ROUND
        whole = SMALL_SEGMENT if size <= SMALL else own
        piece = _Piece(self._end, whole)
        # A gap of one unit keeps segments apart.
        self._end += whole + UNIT
        self._pieces[piece.address] = piece
        self.reserved += whole
        return piece

    def _join(self, first: _Piece, second: _Piece) -> _Piece:
        first.size += second.size
        first.after = second.after
        if second.after:
            second.after.before = first
        del self._pieces[second.address]
        return first


def reserved_bytes(step: Step, *, beside: int = 0) -> int:
    """Bytes reserved after several of the same training steps.

    Args:
        step: traced.
        beside: bytes that a library has asked of the allocator before, once.
    """
    allocator = CachingAllocator()
    if beside:
        allocator.allocate(beside)
    # The optimiser makes its states at the end of the first step, a batch is new in each.
    for block in step.blocks:
        if block.kind == "parameters":
            allocator.allocate(block.size)
    for number in range(STEPS):
        held = [(allocator.allocate(b.size), b.size) for b in step.blocks if b.kind == "data"]
        _replay(step, allocator)
        if number == 0:
            for block in step.blocks:
                if block.kind == "optimiser":
                    allocator.allocate(block.size)
        for address, size in held:
            allocator.free(address, size)
    return allocator.reserved


def _replay(step: Step, allocator: CachingAllocator) -> None:
    events: dict[int, list[tuple[bool, int, Block]]] = {}
    for number, block in enumerate(step.blocks):
        if block.born >= 0:
            events.setdefault(block.born, []).append((True, number, block))
            died = step.ends[-1] if block.died is None else block.died
            events.setdefault(died, []).append((False, number, block))
    addresses: dict[int, int] = {}
    for event in sorted(events):
        for born, number, block in events[event]:
            if born:
                addresses[number] = allocator.allocate(block.size)
            else:
                allocator.free(addresses.pop(number), block.size)
