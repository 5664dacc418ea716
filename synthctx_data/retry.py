"""Calls that are made again after a passing trouble: the one place that waits."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception, stop_after_attempt

T = TypeVar("T")


def retry(call: Callable[[], T], waits: Sequence[float], passing: Callable[[BaseException], bool]) -> T:
    """What the call returns, made again after each of the waits (seconds) as long as its error is a passing one.

    Raises: the error of the last call, or the first error that is not passing.
    """
    return Retrying(wait=_each(waits), **_rules(waits, passing))(call)


async def retry_async(
    call: Callable[[], Awaitable[T]], waits: Sequence[float], passing: Callable[[BaseException], bool]
) -> T:
    """As `retry`, for a call that is awaited."""
    return await AsyncRetrying(wait=_each(waits), **_rules(waits, passing))(call)


def _each(waits: Sequence[float]) -> Callable[[RetryCallState], float]:
    return lambda state: waits[state.attempt_number - 1]


def _rules(waits: Sequence[float], passing: Callable[[BaseException], bool]) -> dict[str, Any]:
    return {"retry": retry_if_exception(passing), "stop": stop_after_attempt(len(waits) + 1), "reraise": True}
