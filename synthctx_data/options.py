"""What a user may choose: sizes, tokenizer, depth, corpus."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from synthctx_data import CONTENT_VERSION
from synthctx_data.errors import UsageError

MIN_TOKENS, MAX_TOKENS = 128, 1_048_576
DISTRACTORS = ("bm25", "dense", "random")
KEY_STYLES = ("uuid", "integer", "word")
INSIGHT_WORDINGS = ("varied", "identical")
UNIFORM = "uniform"
CORPUS_OPTIONS = frozenset({"corpus", "corpus_text_column", "distractors", "dense_model"})  # what a haystack reads
_HOPS = re.compile(r"([234])(?::([0-9]+(?:\.[0-9]+)?))?", re.ASCII)
_HEAVIEST = 1e9
_POOL_TOKENS = 64  # about half a document
_MIN_POOL = 16
_MAX_POOL = 1_000_000
_CHOICES = (("distractors", DISTRACTORS), ("key_style", KEY_STYLES), ("insight_wording", INSIGHT_WORDINGS))
COMMON = frozenset({"max_tokens", "tokenizer", "train", "validation", "seed", "depth"})  # what every variant reads


@dataclass(frozen=True)
class Options:
    """The options of a build, each with its default; `None` sizes mean the task's own.

    max_tokens: tokens of the whole training sequence, 128 to 1,048,576.
    tokenizer: a tokenizer.json, a folder that holds one, or a Hub id; None is the bundled one.
    train, validation: examples of the split.
    depth: "uniform", or numbers in [0, 1] separated by commas, taken in turn.
    corpus: files, folders or Hub ids of real documents.
    corpus_text_column: the field of a document's row that holds its text.
    distractors: how real distractors are ranked: bm25, dense or random.
    dense_model: the encoder that ranks them if distractors is dense: a folder or a Hub id.
    key_style: what symbolic keys and values look like: uuid, integer or word.
    insight_wording: whether an insight is worded anew in every document that contains it (varied) or not (identical).
    hops: how many hops multi-hop questions have, with weights if they are not equally many: "2,3,4" or "2:6,3:3,4:1".
    model: the language model that writes documents; None takes the sample that is built in.
    pool_size: the haystack documents that it writes, for all examples to share; None is `pool_documents`.
    store: the file that holds its answers.
    """

    max_tokens: int = 32768
    tokenizer: str | None = None
    train: int | None = None
    validation: int | None = None
    seed: int = 0
    depth: str = UNIFORM
    corpus: tuple[str, ...] = ()
    corpus_text_column: str = "text"
    distractors: str = "bm25"
    dense_model: str = "facebook/contriever"
    key_style: str = "uuid"
    hops: str = "2,3,4"
    insight_wording: str = "varied"
    model: str | None = None
    pool_size: int | None = None
    store: str = "synthctx/answers.sqlite"

    def changed(self) -> dict[str, Any]:
        """The options that are not at their default."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}


def validate(options: Options) -> None:
    """Raises: UsageError for the first option whose value cannot be used."""
    for name, kind in (("max_tokens", int), ("seed", int), ("depth", str), ("hops", str)):
        if not isinstance(getattr(options, name), kind):
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag}: expected {kind.__name__}, got {getattr(options, name)!r}")
    if not MIN_TOKENS <= options.max_tokens <= MAX_TOKENS:
        raise UsageError(f"--max-tokens: expected {MIN_TOKENS:,} to {MAX_TOKENS:,} tokens, got {options.max_tokens:,}")
    for name in ("train", "validation"):
        size = getattr(options, name)
        if size is not None and size < 0:
            raise UsageError(f"--{name}: expected a number of examples, 0 or more, got {size}")
    if options.pool_size is not None and not 0 <= options.pool_size <= _MAX_POOL:
        raise UsageError(f"--pool-size: expected 0 to {_MAX_POOL:,} documents, got {options.pool_size:,}")
    if options.model is not None and not options.model.strip():
        raise UsageError("--model: expected the name of a model, got none")
    if (options.train, options.validation) == (0, 0):
        raise UsageError("--train and --validation: expected at least one example, got 0 of both")
    for name, allowed in _CHOICES:
        if getattr(options, name) not in allowed:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag}: expected one of {', '.join(allowed)}; got {getattr(options, name)!r}")
    if options.distractors != "dense" and options.dense_model != Options.dense_model:
        raise UsageError("--dense-model: it is read with --distractors dense only; add that or leave it out")
    parse_depth(options.depth)
    parse_hops(options.hops)


def parse_depth(depth: str) -> tuple[float, ...]:
    """The depths that examples take in turn; empty for uniform ones.

    Raises: UsageError if one is not a number in [0, 1].
    """
    if depth == UNIFORM:
        return ()
    try:
        depths = tuple(float(part) for part in depth.split(","))
    except ValueError:
        depths = (-1.0,)
    if not all(0 <= d <= 1 for d in depths):
        raise UsageError(f"--depth: expected uniform, or numbers from 0 to 1 such as 0.0,0.5,1.0; got {depth!r}")
    return depths


def parse_hops(hops: str) -> dict[int, float]:
    """The share of questions of each number of hops; the shares sum to 1.

    Raises: UsageError if a number is not 2, 3 or 4, or a weight not positive.
    """
    parts = [_HOPS.fullmatch(part.strip()) for part in hops.split(",")]
    weights = {int(part[1]): float(part[2] or 1) for part in parts if part}
    if len(weights) < len(parts) or not all(0 < weight < _HEAVIEST for weight in weights.values()):
        raise UsageError(
            f"--hops: expected 2, 3 or 4, or several with weights such as 2,3,4 or 2:6,3:3,4:1; got {hops!r}"
        )
    return {number: weight / sum(weights.values()) for number, weight in weights.items()}


def pool_documents(options: Options) -> int:
    """The haystack documents that a language model writes: by default about twice as many as fill a context.

    Beside a user's own documents none, since the distractors that it writes for every example are enough.
    """
    if options.pool_size is not None:
        return options.pool_size
    return 0 if options.corpus else max(options.max_tokens // _POOL_TOKENS, _MIN_POOL)


def fingerprint(description: dict[str, Any]) -> str:
    """A short hash of everything that decides the rows of a data set."""
    text = json.dumps({"content": CONTENT_VERSION, **description}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_dict(options: Options) -> dict[str, Any]:
    """The options that decide rows, as JSON holds them: where answers lie decides nothing."""
    return {name: value for name, value in asdict(options).items() if name != "store"} | {
        "corpus": list(options.corpus)
    }
