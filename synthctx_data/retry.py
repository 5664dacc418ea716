"""Calls that are repeated after passing errors, such as those of a server that is busy."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from synthctx_data.log import LOG

T = TypeVar("T")


def retry(call: Callable[[], T], waits: Sequence[float], passing: Callable[[BaseException], bool]) -> T:
    """The result of a call, which is repeated after each of the waits (in seconds) as long as `passing` is true of its error.

    Raises: the error of the last call, or the first error that is not passing.
    """
    return Retrying(wait=_each(waits), **_rules(waits, passing))(call)


async def retry_async(
    call: Callable[[], Awaitable[T]], waits: Sequence[float], passing: Callable[[BaseException], bool]
) -> T:
    """The result of a call that is awaited, repeated as `retry` does."""

    async def awaited() -> T:
        return await call()  # of a function that merely returns something to wait for, tenacity would not wait for it

    return await AsyncRetrying(wait=_each(waits), **_rules(waits, passing))(awaited)


def _each(waits: Sequence[float]) -> Callable[[RetryCallState], float]:
    return lambda state: (*waits, 0.0)[state.attempt_number - 1]  # it is asked after the last attempt, too


def _rules(waits: Sequence[float], passing: Callable[[BaseException], bool]) -> dict[str, Any]:
    return {
        "retry": retry_if_exception(passing),
        "stop": stop_after_attempt(len(waits) + 1),
        "reraise": True,
        "before_sleep": _log,
    }


def _log(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    LOG.info("attempt %d failed, and is made again: %s", state.attempt_number, error)
