"""The blocks of a point in which nothing else wanted its cores.

What a block took while its threads waited for a core says how busy the machine was, not how fast the model is. Blocks
are left out by that cause, never by how long they took; where too few are left, nothing is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from deploytk.report.points import Point

#: A block whose threads waited for a core for more than this share of it is disturbed, as in `bench_stability`.
DISTURBED = 0.1


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """A point without its disturbed blocks.

    `left_out` is their share of the blocks; `waited` is for how much of the time (0..1) the threads of the others
    waited all the same, those of a call together. None where the system does not tell.
    """

    point: Point
    left_out: float | None = None
    waited: float | None = None


def quiet(point: Point) -> Quiet:
    """The blocks in which the point's threads had their cores; all of them where none had."""
    m, blocks = point.measurement, point.blocks_ms
    if m is None or not blocks or len(m.block_waited_ms) != len(blocks):
        return Quiet(point=point)
    calm = [n for n, block in enumerate(blocks) if m.block_waited_ms[n] <= DISTURBED * sum(block)]
    share = 1 - len(calm) / len(blocks)
    if not calm:
        return Quiet(point=point, left_out=share)
    samples = tuple(s for n in calm for s in blocks[n])
    kept = replace(
        m,
        samples_ms=samples,
        blocks=tuple(len(blocks[n]) for n in calm),
        block_at_s=tuple(m.block_at_s[n] for n in calm) if len(m.block_at_s) == len(blocks) else (),
    )
    waited = sum(m.block_waited_ms[n] for n in calm) / sum(samples)
    return Quiet(point=replace(point, measurement=kept), left_out=share, waited=waited)
