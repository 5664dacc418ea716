"""The options that decide the rows of a data set: sizes, tokenizer, depth, corpus, language model."""

import hashlib
import json
import re
from typing import Annotated, Any, Literal, Self

from cyclopts import Parameter
from pydantic import Field, ValidationInfo, field_validator, model_validator

from synthctx_data import CONTENT_VERSION
from synthctx_data.errors import UsageError
from synthctx_data.option_model import OptionModel, flag, panel

MIN_TOKENS, MAX_TOKENS = 128, 1_048_576
MAX_ROWS = 100_000_000  # of a split
UNIFORM = "uniform"
STORE = "synthctx/answers.sqlite"
CORPUS_OPTIONS = frozenset(
    {"corpus", "corpus_text_column", "distractors", "dense_model"}
)  # options that a haystack reads
PADDING_OPTIONS = frozenset({"padding_text"})  # options that padding reads
PATHS = frozenset({"corpus", "tokenizer", "dense_model", "store"})  # options that may name a file of this machine
COMMON = frozenset(
    {"max_tokens", "tokenizer", "train", "validation", "seed", "depth"}
)  # options that every variant reads
_HOPS = re.compile(r"([234])(?::([0-9]+(?:\.[0-9]+)?))?", re.ASCII)
_SHARE = re.compile(r"([a-z]+)(?::([0-9]+(?:\.[0-9]+)?))?", re.ASCII)
_HEAVIEST = 1e9
SHARED_OUT = {
    "--question-kinds": ("fact", "number", "date", "name", "comparison", "list"),
    "--question-wording": ("near", "far"),
}
_LATER = frozenset(
    {"questions", "question_kinds", "question_wording", "rivals", "needle_in", "needle_format", "completion"}
)
_POOL_TOKENS = 64  # about half a document
_MIN_POOL = 16
_MAX_POOL = 1_000_000

_SIZE = panel("Size", 1)
_NEEDLES = panel("Needles", 2)
_CORPUS = panel("Corpus", 3)
_MODEL = panel("Language model (llm and grounded variants)", 4)


class Options(OptionModel):
    """The options that decide the rows of a data set. A size of `None` means the task's default."""

    max_tokens: Annotated[int, Field(ge=MIN_TOKENS, le=MAX_TOKENS), _SIZE] = 32768
    """Tokens of the whole training sequence, chat template and answer included; 128 to 1048576."""
    tokenizer: Annotated[str | None, _SIZE] = None
    """The tokenizer that counts tokens: a tokenizer.json (with its chat template beside it), its folder, or a Hub id.
    Default: the one that comes with synthctx."""
    train: Annotated[int | None, Field(ge=0, le=MAX_ROWS), _SIZE] = None
    """Training examples. Default: as many as in the paper, 1260 for MDQA and 360 for the others."""
    validation: Annotated[int | None, Field(ge=0, le=MAX_ROWS), _SIZE] = None
    """Validation examples. Default: as many as in the paper, 140 for MDQA and 40 for the others."""
    seed: Annotated[int, _SIZE] = 0
    """The seed: another seed gives other examples."""
    depth: Annotated[str, _NEEDLES] = UNIFORM
    """Where needles stand: uniform, or depths from 0 (first) to 1 (last), taken in turn, e.g. 0.0,0.5,1.0."""
    corpus: Annotated[tuple[str, ...], Parameter(show_default=False), _CORPUS] = ()
    """Real questions, or documents to ask about or to fill the haystack: .json, .jsonl, .parquet, .csv, .tsv, .txt, .md, .html (each also
    .gz or .zst), .pdf and .docx (extra office), a folder, or a Hub id. Can be given several times."""
    corpus_text_column: Annotated[str, _CORPUS] = "text"
    """The field of a corpus's rows that holds the text of a document."""
    distractors: Annotated[Literal["bm25", "dense", "random"], _CORPUS] = "bm25"
    """How documents of the corpus are ranked as distractors."""
    dense_model: Annotated[str, _CORPUS] = "facebook/contriever"
    """The encoder for --distractors dense: a folder or a Hub id."""
    questions: Annotated[int, Field(ge=1, le=64), _NEEDLES] = 1
    """Questions on each context of mdqa_synth, at most: as many rows in turn have the same documents, and each has a needle of its
    own. Training, evaluation and head scores read such a context once."""
    padding_text: Annotated[Literal["own", "stock"], _NEEDLES] = "own"
    """The sentences that padding variants repeat: this project's own, or the field's stock ones ("The grass is green. ...")."""
    key_style: Annotated[Literal["uuid", "integer", "word"], _NEEDLES] = "uuid"
    """What the keys and values of symbolic variants are."""
    hops: Annotated[str, _NEEDLES] = "2,3,4"
    """Hops of musique_synth's questions, with weights if they are not equally frequent: 2,3,4 or 2:6,3:3,4:1."""
    question_kinds: Annotated[str, _NEEDLES] = "fact,number,date,name,comparison,list"
    """What grounded variants ask for, with weights if the kinds are not equally frequent: fact:3,number:1."""
    question_wording: Annotated[str | None, _NEEDLES] = None
    """How near the words of a question are to its document's, in grounded variants and mdqa_synth's templated ones, with weights: near,
    far, or near:1,far:2. Default: near,far for grounded variants, any wording for templated ones."""
    rivals: Annotated[int | None, Field(ge=0, le=1_000_000), Parameter(show_default=False), _NEEDLES] = None
    """Documents of mdqa_synth's templated haystacks, at most, that state the relation asked for, or whose subject has a similar name.
    Default: as many as there is room for, and two documents on each subject. With a number, each subject has one."""
    needle_in: Annotated[Literal["own", "sentence", "passage"], _NEEDLES] = "own"
    """Where a made-up needle of mdqa_synth stands. own: in a document about its subject. sentence: it is a document by itself. passage: in
    the middle of another document of the haystack."""
    needle_format: Annotated[Literal["single", "near-duplicates", "list", "count"], _NEEDLES] = "single"
    """Several needles for each made-up question of mdqa_synth, which differ in the answer: one of them is asked for by its place, all
    are to be listed, or they are to be counted."""
    completion: Annotated[Literal["answer", "evidence"], _NEEDLES] = "answer"
    """What a model learns to write in mdqa_synth and musique_synth: the answer, or the needles word for word and then the answer."""
    insight_wording: Annotated[Literal["varied", "identical"], _NEEDLES] = "varied"
    """How the documents of summhay_synth's templated variants word an insight: each anew, or all the same."""
    model: Annotated[str | None, _MODEL] = None
    """The language model that writes the documents, or asks about yours. Default: none; a small sample of answers is built in."""
    pool_size: Annotated[int | None, Field(ge=0, le=_MAX_POOL), _MODEL] = None
    """How many documents the model writes for all haystacks of llm_haystack to share. Default: --max-tokens / 64."""
    store: Annotated[str | None, _MODEL] = None
    """The file that keeps every answer of the language model. Default: OUTPUT/answers.sqlite."""

    @field_validator("corpus", mode="before")
    @classmethod
    def _one_corpus(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("depth")
    @classmethod
    def _depth_is_read(cls, value: str) -> str:
        parse_depth(value)
        return value

    @field_validator("hops")
    @classmethod
    def _hops_are_read(cls, value: str) -> str:
        parse_hops(value)
        return value

    @field_validator("question_kinds", "question_wording")
    @classmethod
    def _shares_are_read(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            parse_shares(value, flag(str(info.field_name)))
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.model is not None and not self.model.strip():
            raise UsageError("--model: expected the name of a model, got none")
        if (self.train, self.validation) == (0, 0):
            raise UsageError("--train and --validation: expected at least one example, got 0 of both")
        if self.questions > 1 and self.depth != UNIFORM:
            raise UsageError(
                "--questions: the needles of one context cannot all stand at the depths of --depth; leave out one of the two"
            )
        if self.questions > 1 and self.needle_format != "single":
            raise UsageError(
                "--needle-format: a context with several needles for a question has one question; leave out --questions"
            )
        if self.distractors != "dense" and "dense_model" in self.changed():
            raise UsageError("--dense-model: it is read with --distractors dense only; add that or leave it out")
        return self

    @property
    def answer_store(self) -> str:
        """The file that keeps the answers of the language model."""
        return self.store or STORE


def parse_depth(depth: str) -> tuple[float, ...]:
    """The depths, in [0, 1], that examples take in turn; empty if depths are uniform.

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
    """The share of questions with each number of hops. The shares sum to 1.

    Raises: UsageError if a number is not 2, 3 or 4, or if a weight is not positive.
    """
    parts = [_HOPS.fullmatch(part.strip()) for part in hops.split(",")]
    weights = {int(part[1]): float(part[2] or 1) for part in parts if part}
    if len(weights) < len(parts) or not all(0 < weight < _HEAVIEST for weight in weights.values()):
        raise UsageError(
            f"--hops: expected 2, 3 or 4, or several with weights such as 2,3,4 or 2:6,3:3,4:1; got {hops!r}"
        )
    return {number: weight / sum(weights.values()) for number, weight in weights.items()}


def parse_shares(text: str, name: str) -> dict[str, float]:
    """The shares of several names, which sum to 1, from "near:3,far:1". `name` is that of the option.

    Raises: UsageError if one of the names is unknown, or if a weight is not positive.
    """
    known = SHARED_OUT[name]
    parts = [_SHARE.fullmatch(part.strip()) for part in text.split(",")]
    weights = {part[1]: float(part[2] or 1) for part in parts if part and part[1] in known}
    if len(weights) < len(parts) or not all(0 < weight < _HEAVIEST for weight in weights.values()):
        raise UsageError(
            f"{name}: expected some of {', '.join(known)}, with weights if they are not equally frequent, such as "
            f"{known[0]}:3,{known[1]}:1; got {text!r}"
        )
    return {one: weight / sum(weights.values()) for one, weight in weights.items()}


def pool_documents(options: Options) -> int:
    """The number of haystack documents that a language model writes: by default about twice as many as fill a context.

    If the haystack has a user's own documents, the default is 0: the distractors that the model writes for every example
    are enough.
    """
    if options.pool_size is not None:
        return options.pool_size
    return 0 if options.corpus else max(options.max_tokens // _POOL_TOKENS, _MIN_POOL)


def fingerprint(description: dict[str, Any], content: str = CONTENT_VERSION) -> str:
    """A hash, 16 hex digits long, of everything that decides the rows of a data set of this content version."""
    text = json.dumps({"content": content, **description}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_dict(options: Options) -> dict[str, Any]:
    """The options that decide rows, as JSON values by name. The place of the answer store is left out: it decides none.

    So are the options of _LATER at their defaults: builds from before there were these have the same fingerprint.
    """
    as_they_were = _LATER.difference(options.changed())
    return options.model_dump(mode="json", exclude={"store", *as_they_were})
