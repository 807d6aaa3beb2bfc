"""The blocks of a point in which nothing else wanted its cores.

What a block took while its threads waited for a core says how busy the machine was, not how fast the model is. Blocks
are left out by that cause, never by how long they took; where too few are left, nothing is decided.
"""

from __future__ import annotations

from dataclasses import replace

from deploytk.report.points import Point

#: A block whose threads waited for a core for more than this share of it is disturbed, as in `bench_stability`.
DISTURBED = 0.1


def quiet(point: Point) -> tuple[Point, float | None]:
    """The point without its disturbed blocks, and their share; None where the system does not tell."""
    m, blocks = point.measurement, point.blocks_ms
    if m is None or not blocks or len(m.block_waited_ms) != len(blocks):
        return point, None
    calm = [n for n, block in enumerate(blocks) if m.block_waited_ms[n] <= DISTURBED * sum(block)]
    share = 1 - len(calm) / len(blocks)
    if not calm:
        return point, share
    kept = replace(
        m,
        samples_ms=tuple(s for n in calm for s in blocks[n]),
        blocks=tuple(len(blocks[n]) for n in calm),
        block_at_s=tuple(m.block_at_s[n] for n in calm) if len(m.block_at_s) == len(blocks) else (),
    )
    return replace(point, measurement=kept), share
