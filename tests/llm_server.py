"""An OpenAI-compatible server that really listens, writes what is asked for, and misbehaves on demand; its log is what tests go by."""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from synthctx_data.seeding import Stream, rng

_NAMED = r"(.+?) \((?:a|an) [^)]*\)"
_SYLLABLES = [
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "hy",
    "ja",
    "ke",
    "lo",
    "mi",
    "nu",
    "pe",
    "ra",
    "si",
    "to",
    "vu",
    "wa",
    "xe",
    "yo",
    "zu",
]


@dataclass(frozen=True)
class Reply:
    """What the server does with one request: it waits, then answers with this status, headers and body, or cuts the connection.

    held: it waits until it is let go.
    """

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    cut: bool = False
    held: bool = False


Behaviour = Callable[[int, dict[str, Any]], Reply]


def completion(text: str | None, finish_reason: str = "stop", **changes: Any) -> dict[str, Any]:
    """The body of a reply with this text."""
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    return {"id": "x", "object": "chat.completion", "model": "served", "choices": [choice], "usage": usage, **changes}


def well(number: int, body: dict[str, Any]) -> Reply:
    """Writes what is asked for."""
    return Reply(completion(write(body)))


def write(body: dict[str, Any]) -> str:
    """An answer that passes every check; the same request gets the same answer."""
    prompt = body["messages"][1]["content"]
    return json.dumps(_answer(prompt, rng("llm server", json.dumps(body["messages"]))))


def _answer(prompt: str, stream: Stream) -> dict[str, Any]:
    """What the first writer gives whose words are in the prompt; documents, if it is none's."""
    return next((writer for words, writer in _WRITERS.items() if words in prompt), _several)(prompt, stream)


def _asked(prompt: str, stream: Stream) -> dict[str, Any]:
    (subject,) = re.findall(rf"It is about {_NAMED}", prompt)
    answer = _word(stream)
    return {**_document(stream, subject, answer), "question": f"What is kept at {subject}?", "answer": answer}


def _insight(prompt: str, stream: Stream) -> dict[str, Any]:
    (subject,) = re.findall(rf"The topic: {_NAMED}", prompt)
    count = int(re.findall(r"and (\d+) document", prompt)[0])
    return {"insight": _sentence(stream, subject), "documents": [_stating(stream, subject) for _ in range(count)]}


def _several(prompt: str, stream: Stream) -> dict[str, Any]:
    names = re.findall(rf"(?:It is|A document) about {_NAMED}", prompt)
    names = [*re.findall(r"1\. Another document about (.+?)\. It names", prompt), *names]
    names = [name for name in re.findall(r"Documents about (.+?), which they name", prompt) for _ in range(2)] + names
    return {"documents": [_document(stream, name) for name in names]}


def _saying(prompt: str, _: Stream) -> dict[str, Any]:
    """The passages in which a sentence ends with one of the words of a statement that `_shared` made."""
    ends = re.findall(r"where (\S+) and (\S+) stand", prompt)[0]
    texts = enumerate(_passages(prompt), 1)
    return {"passages": [number for number, text in texts if any(f" {end}." in text for end in ends)]}


def _about(prompt: str, stream: Stream) -> dict[str, Any]:
    """A question about a sentence of a passage that holds a name and ends with a longer word."""
    (text,) = _passages(prompt)
    support = stream.choice(_telling(text) or [text])
    names = re.findall(r" ([A-Z][a-z]+)", support) or ["Nobody"]
    return {
        "question": f"What is said of {names[0]} at the end?",
        "answer": support.rstrip(".").split()[-1],
        "support": support,
    }


def _passages(prompt: str) -> list[str]:
    return re.findall(r"\n<<<\n(.*?)\n>>>", prompt, re.DOTALL)


def _telling(text: str) -> list[str]:
    """The sentences that hold a name and end with a longer word."""
    sentences = re.findall(r"[A-Z][^.!?\n]*[.]", text)
    return [found for found in sentences if re.search(r" [A-Z][a-z]+.* [a-z]{5,}[.]$", found)]


def _through(prompt: str, stream: Stream) -> dict[str, Any]:
    """A question through passages: it begins with a name in the first support, and ends with the last word of a sentence."""
    texts, names = _passages(prompt), re.findall(r'both name "(.+?)"', prompt)
    holding = [
        [line for line in re.findall(r"[^.!?\n]*[.]", text) if name in line]
        for text, name in zip(texts, names, strict=False)
    ]
    supports = [*((lines or texts)[0] for lines in holding), stream.choice(_telling(texts[-1]) or texts)]
    answers = [*names, supports[-1].rstrip(".").split()[-1]]
    subjects = [_other_name(supports[0], names), *names]
    steps = [
        {"question": f"What is told of {subject} there?", "answer": answer, "support": support}
        for subject, answer, support in zip(subjects, answers, supports, strict=True)
    ]
    return {"question": f"How ends a tale about {subjects[0]}?", "steps": steps}


def _other_name(text: str, names: list[str]) -> str:
    hidden = " ".join(names)
    return next((found for found in re.findall(r" ([A-Z][a-z]{3,})", text) if found not in hidden), "Nobody")


def _shared(prompt: str, stream: Stream) -> dict[str, Any]:
    """A statement about a name that two passages share, which ends with the last words of a sentence of each."""
    texts = _passages(prompt)
    known = [set(re.findall(r" ([A-Z][a-z]{3,})", text)) for text in texts]
    pairs = [(i, j) for i in range(len(texts)) for j in range(i) if known[i] & known[j]]
    i, j = stream.choice(pairs or [(0, 0)])
    said = [stream.choice(_telling(texts[k]) or [texts[k]]) for k in (i, j)]
    ends = [one.rstrip(".").split()[-1] for one in said]
    name = min(known[i] & known[j], default="Nobody")
    found = [{"number": k + 1, "statement": one} for k, one in zip((i, j), said, strict=True)]
    return {"insight": f"Here {name} is spoken of where {ends[0]} and {ends[1]} stand.", "passages": found}


def _chain(prompt: str, stream: Stream) -> dict[str, Any]:
    names = re.findall(rf"Document \d+ is about {_NAMED}", prompt)
    answers = [*names[1:], _word(stream)]
    hops = [
        {**_document(stream, name, answer), "question": f"What is kept at {name}?", "answer": answer}
        for name, answer in zip(names, answers, strict=True)
    ]
    return {"question": f"Where does all begin with {names[0]} at last?", "hops": hops}


def _stating(stream: Stream, subject: str) -> dict[str, Any]:
    statement = _sentence(stream, subject)
    document = _document(stream, subject)
    return {**document, "passage": f"{document['passage']} {statement}", "statement": statement}


def _document(stream: Stream, *names: str) -> dict[str, str]:
    words = [_word(stream) for _ in range(60)]
    for i, name in enumerate(names):
        words.insert(10 * i, name)
    return {"title": _word(stream).title(), "passage": " ".join(words) + "."}


def _sentence(stream: Stream, subject: str) -> str:
    return f"{subject} " + " ".join(_word(stream) for _ in range(12)) + "."


def _word(stream: Stream) -> str:
    return "".join(stream.choice(_SYLLABLES) for _ in range(4))


_WRITERS: dict[str, Callable[[str, Stream], dict[str, Any]]] = {
    "Write a document and a question": _asked,
    "Write an insight": _insight,
    "They form a chain": _chain,
    "Write a question that the passage below answers": _about,
    "Write one question that needs all": _through,
    "Find something that two or more of them say": _shared,
    "Which of the passages below say this": _saying,
    "Answer this question from": lambda *_: {"answer": "unknown"},
}


class LlmServer:
    """The server: `behave` says what it does with each chat completion, by its number; `log` has every body that came."""

    def __init__(self, behave: Behaviour = well) -> None:
        self.behave = behave
        self.log: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.at_once = self.most_at_once = 0
        self.let_go = threading.Event()  # what is held
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polls = 0  # of a batch before it is done
        self.odd_lines: list[str] = []  # that stand in an output beside the answers
        self.deaf = 0  # batches that are made, but answered with an error
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers what comes on one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                data = await reader.readexactly(int(length[1])) if length else b""
                if re.search(r"transfer-encoding: chunked", head, re.IGNORECASE):
                    data = await _chunks(reader)
                method, path, _ = head.split(" ", 2)
                reply = await self._reply(method, path.split("?")[0], head, data)
                if reply.cut:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{")
                    return
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                kind = {"Content-Type": "application/json", **reply.headers, "Content-Length": str(len(body))}
                lines = "".join(f"{name}: {value}\r\n" for name, value in kind.items())
                writer.write(f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _reply(self, method: str, path: str, head: str, data: bytes) -> Reply:
        if path == "/v1/chat/completions":
            body = json.loads(data)
            self.log.append(body)
            self.headers.append(head)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            reply = self.behave(len(self.log) - 1, body)
            await asyncio.sleep(reply.seconds)
            while reply.held and not self.let_go.is_set():
                await asyncio.sleep(0.01)
            self.at_once -= 1
            return reply
        return self._batch_reply(method, path.removeprefix("/v1/"), data)

    def _batch_reply(self, method: str, path: str, data: bytes) -> Reply:
        if (method, path) == ("POST", "files"):
            name = f"file-{len(self.files)}"
            self.files[name] = re.search(rb"\r\n\r\n(\{.*\}\n)\r\n--", data, re.DOTALL)[1].decode()
            return Reply({"id": name, "object": "file", "purpose": "batch"})
        if path.startswith("files/"):
            return Reply(self.files[path.split("/")[1]].encode(), headers={"Content-Type": "application/octet-stream"})
        if (method, path) == ("POST", "batches"):
            return self._make_batch(json.loads(data))
        if path == "batches":
            return Reply({"object": "list", "data": list(self.batches.values()), "has_more": False})
        return self._look_at(self.batches.get(path.removeprefix("batches/")))

    def _make_batch(self, asked: dict[str, Any]) -> Reply:
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {"id": name, "object": "batch", "status": "in_progress", **asked, "seen": 0}
        self.deaf -= 1
        return Reply({"error": {"message": "oops"}}, 500) if self.deaf >= 0 else Reply(self.batches[name])

    def _look_at(self, batch: dict[str, Any] | None) -> Reply:
        if batch is None:
            return Reply({"error": {"message": "nothing of this name"}}, 404)
        batch["seen"] += 1
        if batch["seen"] > self.polls and batch["status"] == "in_progress":
            self._run(batch)
        return Reply(batch)

    def _run(self, batch: dict[str, Any]) -> None:
        lines = list(self.odd_lines)
        for line in map(json.loads, self.files[batch["input_file_id"]].splitlines()):
            self.log.append(line["body"])
            reply = self.behave(len(self.log) - 1, line["body"])
            response = {"status_code": reply.status, "body": reply.body}
            lines.append(
                json.dumps({"custom_id": line["custom_id"], "response": response, "error": None}, ensure_ascii=False)
            )
        self.files[f"{batch['id']}-output"] = "\n".join(lines) + "\n"
        batch |= {"status": "completed", "output_file_id": f"{batch['id']}-output"}


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(parts)


@contextmanager
def llm_server(behave: Behaviour = well) -> Iterator[LlmServer]:
    """A server that listens while the context lasts."""
    server, loop = LlmServer(behave), asyncio.new_event_loop()
    listening = loop.run_until_complete(asyncio.start_server(server.serve, "127.0.0.1", 0, limit=2**24, backlog=2048))
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        listening.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
