"""A store that speaks S3 and really listens (moto), and that fails as it is told to: busy, slow, cut off, or with keys that expired."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "a key of the tests", "AWS_SECRET_ACCESS_KEY": "a secret of the tests"}
_EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
Fault = Callable[[str, str], str]  # from method and path: "", "busy", "slow", "cut" or "expired"
Start = Callable[..., Any]


@dataclass
class Store:
    """The server: its address, the fault of each request, and its log of methods and paths."""

    address: str = ""
    fault: Fault = lambda method, path: ""
    log: list[tuple[str, str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a process reaches the store."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.address, "AWS_DEFAULT_REGION": "us-east-1"}

    def written(self, ending: str) -> list[str]:
        """The names of files with this ending that were written, as often as they were."""
        return [path.rpartition("/")[2] for method, path in self.log if method == "PUT" and path.endswith(ending)]


@contextmanager
def store(host: str = "127.0.0.1") -> Iterator[Store]:
    """A store with an empty bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    mine, moto = Store(), DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        fault = mine.fault(method, path)
        if fault in ("busy", "expired"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("503 Slow Down" if fault == "busy" else "400 Bad Request", [("Content-Type", "application/xml")])
            return [_EXPIRED if fault == "expired" else b""]
        if fault == "slow":
            time.sleep(0.2)
        mine.log.append((method, path))
        answer: Iterable[bytes] = moto(environ, start)
        return _half(b"".join(answer)) if fault == "cut" and method == "GET" else answer

    server = make_server(host, 0, application, threaded=True)
    mine.address = f"http://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        client = boto3.client(
            "s3", endpoint_url=mine.address, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        client.create_bucket(Bucket=BUCKET)
        yield mine
    finally:
        server.shutdown()
        thread.join()
        client.close()
        moto_reset()


def moto_reset() -> None:
    """Empties all buckets: moto keeps them for the whole process."""
    from moto.s3.models import s3_backends

    s3_backends.reset()


def _half(content: bytes) -> Iterator[bytes]:
    yield content[: len(content) // 2]
    raise ConnectionAbortedError
