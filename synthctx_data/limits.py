"""A trial of code that came with somebody's files, such as a chat template, within limits of time and memory."""

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

_MEMORY = Path("/proc/self/statm")  # its first number is the memory of this process, in pages
_MOST = 1000  # bytes of what the trial says


def try_within_limits(call: Callable[[], str], seconds: int, memory: int) -> str:
    """What a call returns, which is a problem in words or nothing; or the problem that it takes more time or memory than it may.

    The call runs in a copy of this process, whose end harms nothing. Where processes cannot be copied, there is no limit.

    seconds: of the processor's time. memory: bytes above what this process has.
    """
    if not hasattr(os, "fork") or not _MEMORY.exists():
        return call()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _run(call, writing, seconds, memory)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        problem = said.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        return f"it takes more than {seconds} seconds"
    if os.WIFSIGNALED(status):
        return f"it takes more than {memory:,} bytes, or ends the process that uses it"
    return problem


def _run(call: Callable[[], str], writing: int, seconds: int, memory: int) -> None:
    """In the copy: runs the call, tells what it returned, and ends."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        most = int(_MEMORY.read_text().split()[0]) * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        problem = call()
    except MemoryError:
        problem = f"it takes more than {memory:,} bytes"
    except BaseException as error:
        problem = str(error) or type(error).__name__
    os.write(writing, problem.encode(errors="replace")[:_MOST])
    os._exit(0)
