"""Which samples sit in one Pack, and in which order Packs are seen: fixed by the seed, without repeating or dropping a sample."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agenttune.errors import UserError
from agenttune.values.tokens import common_prefix

Ids = Sequence[int] | npt.NDArray[np.integer]

WORTH = 32  # tokens: a branch point counts where at least this many more are shared than at the one above it
WIDTH = 4  # bytes of an id in a sort key
OPEN = 16  # packs that are still being filled at one time, which keeps planning linear


@dataclass(frozen=True, slots=True, kw_only=True)
class PackLimits:
    """Most tokens (after sharing) and most samples of a Pack. One sample that is longer by itself sits alone."""

    tokens: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """`packs[k]` holds the indices of the samples of Pack k, `tokens[k]` its tokens after sharing. Their number divides by `world`.

    Where samples are too few for that, fewer than `world` Packs are empty: a rank that gets one adds nothing to the step.
    """

    packs: tuple[tuple[int, ...], ...]
    tokens: tuple[int, ...]
    seed: int
    world: int = 1

    def order(self, epoch: int, rank: int = 0) -> list[int]:
        """The Packs that one rank sees in one epoch, in order: a permutation of all, dealt out in turn."""
        everything = list(range(len(self.packs)))
        random.Random(f"{self.seed} {epoch}").shuffle(everything)
        return everything[rank :: self.world]

    def steps(self, accumulation: int) -> int:
        """Optimizer steps of an epoch, the same in each."""
        return -(-len(self.packs) // (self.world * accumulation))


@dataclass(frozen=True, slots=True)
class _Unit:
    """Samples that stay together, and their tokens below the branch point being looked at."""

    samples: tuple[int, ...]
    tokens: int


def make_packing(paths: Sequence[Ids], limits: PackLimits, *, seed: int, world: int = 1, share: bool = True) -> Packing:
    """Seats all samples in Packs. `paths[i]` holds the ids of sample i that must be computed.

    With `share`, samples with a common prefix sit together, the longest common prefix first: a trie is walked bottom-up and at
    each branch point its units are shuffled and merged while the limits hold. Raises `UserError` for fewer samples than ranks.
    """
    if len(paths) < world:
        raise UserError(f"there are {len(paths)} samples to train on and {world} processes; every process needs one at least")
    draw = random.Random(f"{seed}")
    if share:
        units = _Trie(paths, limits, draw).units()
    else:
        units = [_Unit((index,), len(path)) for index, path in enumerate(paths)]
        draw.shuffle(units)
        units = _merged(units, 0, limits)
    packs = _divisible([one.samples for one in units], world)
    tokens = tuple(_tokens([paths[index] for index in pack], share) for pack in packs)  # exact: prefixes below `WORTH` count here too
    return Packing(packs=tuple(packs), tokens=tokens, seed=seed, world=world)


class _Trie:
    """Sorted paths with the common prefix of each and the one before; short-lived, one a plan."""

    def __init__(self, paths: Sequence[Ids], limits: PackLimits, draw: random.Random) -> None:
        keys = [_sortable(path) for path in paths]
        self.order = sorted(range(len(paths)), key=keys.__getitem__)
        self.lengths = [len(paths[index]) for index in self.order]
        pairs = itertools.pairwise(self.order)
        self.common = np.array([0, *(common_prefix(keys[one], keys[other]) // WIDTH for one, other in pairs)], np.int64)
        self.limits = limits
        self.draw = draw

    def units(self, low: int = 0, high: int = -1, depth: int = 0) -> list[_Unit]:
        """The units of sorted paths ``low:high``, which share `depth` tokens."""
        high = len(self.order) if high < 0 else high
        cuts = (np.flatnonzero(self.common[low + 1 : high] < depth + WORTH) + low + 1).tolist()
        found: list[_Unit] = []
        for start, end in zip([low, *cuts], [*cuts, high], strict=True):
            if end - start == 1:
                found.append(_Unit((self.order[start],), self.lengths[start] - depth))
                continue
            inner = int(self.common[start + 1 : end].min())
            found += [_Unit(one.samples, one.tokens + inner - depth) for one in self.units(start, end, inner)]
        self.draw.shuffle(found)
        return _merged(found, depth, self.limits)


def _merged(units: list[_Unit], depth: int, limits: PackLimits) -> list[_Unit]:
    """Units put together in turn, evenly, while their samples and their tokens (with the `depth` they share) stay in the limits."""
    samples = sum(len(one.samples) for one in units)
    room = max(limits.tokens - depth, 1)
    bins = max(-(-samples // limits.samples), -(-sum(one.tokens for one in units) // room), 1)
    most = -(-samples // bins)
    done: list[_Unit] = []
    filling: list[_Unit] = []
    for unit in units:
        fits = (index for index, one in enumerate(filling) if _fits(one, unit, most, room))
        index = next(fits, -1)
        if index < 0:
            filling.append(unit)
        else:
            filling[index] = _Unit(filling[index].samples + unit.samples, filling[index].tokens + unit.tokens)
        if len(filling) > OPEN:
            done.append(filling.pop(0))
    return done + filling


def _fits(one: _Unit, other: _Unit, samples: int, tokens: int) -> bool:
    return len(one.samples) + len(other.samples) <= samples and one.tokens + other.tokens <= tokens


def _divisible(packs: list[tuple[int, ...]], world: int) -> list[tuple[int, ...]]:
    """Splits the largest Packs until their number divides by `world`: every rank gets the same number, and nothing is repeated.

    At last a Pack of a single sample is split, into itself and an empty one.
    """
    while len(packs) % world:
        packs = sorted(packs, key=lambda one: (len(one), one))
        largest = packs.pop()
        middle = len(largest) // 2
        packs += [largest[:middle], largest[middle:]]
    return packs


def _tokens(paths: Sequence[Ids], share: bool) -> int:
    """Tokens of a Pack of these paths."""
    total = sum(len(path) for path in paths)
    if not share:
        return total
    ordered = sorted(_sortable(path) for path in paths)
    return total - sum(common_prefix(first, second) // WIDTH for first, second in itertools.pairwise(ordered))


def _sortable(path: Ids) -> bytes:
    """The ids as big-endian bytes, which sort as the ids do."""
    return np.asarray(path, dtype=f">u{WIDTH}").tobytes()
