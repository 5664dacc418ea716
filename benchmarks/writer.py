"""How fast a language model can write, if it is as fast as a test server, and what its answers take: python benchmarks/writer.py.

The server waits a fixed time before each answer. With 500 requests at a time, the ideal is a five-hundredth of all waits. *bare client*
is openai's asynchronous client as it comes, *our client* the same library as `endpoint.py` uses it, *writer* all of it: prompts, judging,
store.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai

from builders import TASKS
from builders.examples import Examples
from builders.writing.endpoint import Endpoint
from builders.writing.options import WritingOptions
from builders.writing.run import write_missing
from builders.writing.store import Answer, AnswerStore, Request
from synthctx_data.options import Options
from tests.llm_server import Reply, completion, llm_server
from tests.llm_server import write as an_answer

CONCURRENCY = 500
_MODEL = "m"


def _serve(seconds: float, url: Any, stop: Any) -> None:
    known: dict[str, bytes] = {}

    def behave(number: int, body: dict[str, Any]) -> Reply:
        prompt = body["messages"][-1]["content"]
        if prompt not in known:  # written once: writing is not what is measured
            known[prompt] = json.dumps(completion(an_answer(body))).encode()
        return Reply(known[prompt], seconds=seconds)

    with llm_server(behave) as server:
        url.put(server.url)
        while not stop.wait(0.1):
            server.log.clear()
            server.headers.clear()


@contextmanager
def serving(seconds: float) -> Iterator[str]:
    """The address of a server in a process of its own."""
    context = multiprocessing.get_context("spawn")
    url, stop = context.Queue(), context.Event()
    process = context.Process(target=_serve, args=(seconds, url, stop))
    process.start()
    try:
        yield url.get()
    finally:
        stop.set()
        process.join()


def made(count: int, folder: str) -> Examples:
    """A variant that takes one request an example."""
    options = Options(max_tokens=1024, train=count, validation=0, model=_MODEL, store=f"{folder}/answers.sqlite")
    return Examples(TASKS["mdqa_synth"], "llm_padding", options)


def requests(count: int) -> list[Request]:
    """The requests of as many examples."""
    from builders.writing.requests import Editor, Pass

    with tempfile.TemporaryDirectory() as folder:
        drafts = Pass(Editor(_MODEL), {}).drafts(made(count, folder).expression.units())
        return [draft.request for draft in drafts if draft.request]


async def gathered(asked: list[Request], ask: Any) -> float:
    """Seconds for all of these, 500 at a time."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(request: Request) -> None:
        async with slots:
            await ask(request)

    start = time.perf_counter()
    await asyncio.gather(*(one(request) for request in asked))
    return time.perf_counter() - start


async def bare_client(url: str, asked: list[Request]) -> float:
    """Seconds that openai's client takes, with as many connections."""
    limits = httpx2.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    async with openai.AsyncOpenAI(
        base_url=url, api_key="none", max_retries=0, http_client=openai.DefaultAsyncHttpxClient(limits=limits)
    ) as client:
        return await gathered(asked, lambda request: client.chat.completions.create(**request.body))


async def our_client(url: str, asked: list[Request]) -> float:
    """Seconds that `Endpoint` takes."""
    endpoint = Endpoint(WritingOptions(endpoint=url, concurrency=CONCURRENCY))
    try:
        return await gathered(asked, endpoint.ask)
    finally:
        await endpoint.close()


def writer(url: str, count: int) -> float:
    """Seconds that all takes, start to end."""
    with tempfile.TemporaryDirectory() as folder:
        one = made(count, folder)
        one.expression  # noqa: B018  # made before the clock starts
        start = time.perf_counter()
        options = WritingOptions(endpoint=url, concurrency=CONCURRENCY)
        write_missing(one, options, options.spending(_MODEL), lambda status: None)
        return time.perf_counter() - start


def speed(seconds: float, count: int) -> None:
    """One row of the table."""
    ideal = seconds * count / CONCURRENCY
    asked = requests(count)
    with serving(seconds) as url:
        asyncio.run(our_client(url, asked))  # so that the server knows all answers
        times = [asyncio.run(bare_client(url, asked)), asyncio.run(our_client(url, asked)), writer(url, count)]
    cells = " | ".join(f"{t:.2f} ({t / ideal:.2f})" for t in times)
    print(f"| {seconds * 1000:.0f} ms | {count:,} | {ideal:.2f} | {cells} |", flush=True)


def memory(count: int) -> None:
    """Peak memory after so many answers."""
    with serving(0.0) as url:
        writer(url, count)
    print(f"| {count:,} | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} |", flush=True)


def store(count: int) -> None:
    """How long a store of so many answers takes to find one."""
    text = "x" * 1000
    with tempfile.TemporaryDirectory() as folder:
        answers = AnswerStore(Path(folder) / "answers.sqlite")
        keys = [Request({"number": i}, "t").key for i in range(count)]
        answers.keep_all(Answer(key, "t", "u", text, "stop", "m", "e", 1, 1, 0.0) for key in keys)
        looked_up = keys[:: max(count // 2000, 1)]
        start = time.perf_counter()
        assert all(answers.get(key) for key in looked_up)
        each = (time.perf_counter() - start) / len(looked_up)
        start = time.perf_counter()
        assert not any(answers.get(key[::-1]) for key in looked_up)
        absent = (time.perf_counter() - start) / len(looked_up)
        size = (Path(folder) / "answers.sqlite").stat().st_size / 2**20
        print(f"| {count:,} | {size:.0f} | {each * 1e6:.0f} | {absent * 1e6:.0f} |", flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["speed", "memory", "store"])
    only = parser.parse_args().only
    if only in (None, "speed"):
        print(
            f"| an answer takes | requests | ideal, s | bare client, s (of ideal) | our client | writer |\n|{'---|' * 6}"
        )
        for seconds, count in ((0.05, 5000), (1.0, 5000), (2.0, 5000)):
            speed(seconds, count)
    if only in (None, "memory"):
        print(f"| answers | peak MB |\n|{'---|' * 2}")
        for count in (2000, 10_000):
            process = multiprocessing.get_context("spawn").Process(target=memory, args=(count,))
            process.start()
            process.join()
    if only in (None, "store"):
        print(f"| answers | MB | found, us | not there, us |\n|{'---|' * 4}")
        store(1_000_000)


if __name__ == "__main__":
    main()
