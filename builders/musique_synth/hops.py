"""The number of hops of an example. It is the same in every variant."""

from itertools import accumulate

from synthctx_data.options import parse_hops
from synthctx_data.seeding import Stream, rng
from synthctx_data.task import Setting


def draw_hops(setting: Setting, split: str, index: int) -> int:
    """The number of hops of an example, drawn by the weights of `--hops`."""
    return any_hops(setting, rng(setting.options.seed, setting.task, split, index, "hops"))


def any_hops(setting: Setting, stream: Stream) -> int:
    """A number of hops, drawn from a stream by the weights of `--hops`."""
    shares = parse_hops(setting.options.hops)
    drawn = stream.uniform()
    ends = accumulate(shares.values())
    return next((hops for hops, end in zip(shares, ends, strict=True) if drawn < end), max(shares))
