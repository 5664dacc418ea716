"""The number of hops of an example, which is the same in every variant."""

from itertools import accumulate

from synthctx_data.options import parse_hops
from synthctx_data.seeding import rng
from synthctx_data.task import Setting


def draw_hops(setting: Setting, split: str, index: int) -> int:
    """The number of hops of an example, drawn by the weights of `--hops`."""
    shares = parse_hops(setting.options.hops)
    drawn = rng(setting.options.seed, setting.task, split, index, "hops").uniform()
    ends = accumulate(shares.values())
    return next((hops for hops, end in zip(shares, ends, strict=True) if drawn < end), max(shares))
