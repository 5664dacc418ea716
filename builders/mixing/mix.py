"""The rows of a mixture: its parts are built or read, put in order, and written as one variant."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from builders.build import alone, build_variant, manifest_of
from builders.mixing.chats import read_chats
from builders.mixing.recipe import MixtureRecipe, Part, divided
from builders.shards import SHARD_TOKENS, Build, Shard, is_whole, plan_shards, row_groups, write_tables
from synthctx_data.corpus_files import PassedOver
from synthctx_data.dataset import find_variants, load_rows, parse_variant_address
from synthctx_data.errors import ConflictError, SynthctxError, UsageError
from synthctx_data.example import CHAT, SPLITS
from synthctx_data.files import whole
from synthctx_data.manifest import MANIFEST, MIXED, make_manifest, read_manifest, write_manifest
from synthctx_data.options import UNIFORM, Options, fingerprint
from synthctx_data.schema import SCHEMA
from synthctx_data.seeding import rng
from synthctx_data.tokens import TokenCounter, load_counter

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Piece:
    """A part of a mixture with rows of one budget: the number of the piece, its budget (None: its own), and the rows of each split."""

    part: Part
    number: int
    tokens: int | None
    rows: Mapping[str, int]


def pieces_of(recipe: MixtureRecipe) -> list[Piece]:
    """The pieces of a mixture: each part, cut by its budgets, with its share of the rows. Chats are for training only.

    Raises: UsageError if a variant has no budget, or if nothing is left for validation.
    """
    cut: list[tuple[Part, int | None, float]] = []
    for part in recipe.parts:
        lengths = part.max_tokens or recipe.max_tokens
        if part.variant and not lengths:
            raise UsageError(
                f"{part.name}: expected max_tokens, of the part or of the recipe; give one, such as 2048 or 2048:4,8192:1"
            )
        shares = dict(lengths) if part.variant and lengths else {None: 1.0}
        cut += [(part, tokens, part.weight * share / sum(shares.values())) for tokens, share in shares.items()]
    rows = {}
    for split, total in (("train", recipe.train), ("validation", recipe.validation)):
        weights = [0.0 if split == "validation" and part.chat else weight for part, _, weight in cut]
        if total and not any(weights):
            raise UsageError(
                "validation: expected a part besides chats, which are for training only; set validation to 0"
            )
        rows[split] = divided(total, weights) if total else [0] * len(cut)
    pieces = [
        Piece(part, number, tokens, {split: rows[split][number] for split in SPLITS})
        for number, (part, tokens, _) in enumerate(cut)
    ]
    for piece in pieces:
        if not any(piece.rows.values()):
            raise UsageError(
                f"{piece.part.name}: its weight gives it no row of {recipe.train}; raise its weight, or train"
            )
    return pieces


@dataclass(frozen=True)
class Mixture:
    """A mixture on its way into a folder: the recipe and the folder of its task. `passed` counts the chats that cannot be used."""

    recipe: MixtureRecipe
    folder: Path
    passed: PassedOver = field(default_factory=PassedOver)

    @property
    def build(self) -> Build:
        """The mixture as a variant of its task."""
        options = Options(max_tokens=max(self.budgets), tokenizer=self.recipe.tokenizer)
        return Build(self.recipe.task, self.recipe.name, options, self.folder)

    @property
    def staging(self) -> Path:
        """The hidden folder of the parts and of the shards, until all of them are there."""
        return self.folder / f".{self.recipe.name}.partial"

    @cached_property
    def pieces(self) -> list[Piece]:
        """The pieces."""
        return pieces_of(self.recipe)

    @cached_property
    def made(self) -> list[dict[str, Any]]:
        """The manifest of each piece: what decides its rows."""
        return [self._made(piece) for piece in self.pieces]

    @cached_property
    def _lengths(self) -> list[int]:
        """The budgets of the variants, or else of the recipe: chats have no more tokens than the largest."""
        own = [piece.tokens for piece in self.pieces if piece.tokens]
        return own or [max(self.recipe.max_tokens or {Options().max_tokens: 1.0})]

    @cached_property
    def budgets(self) -> list[int]:
        """The budgets of all pieces that have one, in tokens."""
        known = {
            int(budget)
            for piece, made in zip(self.pieces, self.made, strict=True)
            for budget in ([piece.tokens] if piece.tokens else made.get("budgets") or [made.get("max_tokens") or 0])
        }
        return sorted(known - {0}) or self._lengths

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the mixture: everything that decides its rows."""
        recipe, made = self.recipe, self.made
        depths = {str(one.get("depth", UNIFORM)) for one in made}
        described = {
            "task": recipe.task,
            "variant": recipe.name,
            "train": recipe.train,
            "validation": recipe.validation,
            "seed": recipe.seed,
            "order": recipe.order,
            "depth": depths.pop() if len(depths) == 1 else MIXED,
            "max_tokens": max(self.budgets),
            "budgets": self.budgets,
            "questions": max(int(one.get("questions", 1)) for one in made),
            "tokenizer": self.counter.identity,
            "mixture": [
                {"part": piece.part.name, **piece.rows, "made": one}
                for piece, one in zip(self.pieces, made, strict=True)
            ],
        }
        return make_manifest({**described, "fingerprint": fingerprint(described)}, None)

    def build_of(self, piece: Piece) -> Build:
        """The build of a piece that is a variant."""
        assert piece.tokens is not None
        with naming(piece.part):
            options = self.recipe.options(piece.part, piece.number, piece.tokens, dict(piece.rows))
        return Build(self.recipe.task, str(piece.part.variant), options, self.staging / "parts" / f"{piece.number:02d}")

    def _made(self, piece: Piece) -> dict[str, Any]:
        with naming(piece.part):
            return self._manifest_of(piece)

    def _manifest_of(self, piece: Piece) -> dict[str, Any]:
        if piece.part.variant:
            return manifest_of(self.build_of(piece))
        if piece.part.data:
            (variant,) = find_variants(parse_variant_address(piece.part.data))
            if variant.manifest.get("task", self.recipe.task) != self.recipe.task:
                raise UsageError(
                    f"it is a set of {variant.manifest['task']}, and the recipe is for {self.recipe.task}; leave it out, or change the task"
                )
            counted = variant.manifest.get("tokenizer")
            if counted not in (None, self.counter.identity):
                raise UsageError(
                    "its tokens were counted by another tokenizer than the recipe's; build it with --tokenizer of the recipe"
                )
            return variant.manifest
        said = json.dumps(self.chats[piece.number], sort_keys=True).encode()
        return {"variant": CHAT, "sha256": hashlib.sha256(said).hexdigest()}

    @cached_property
    def chats(self) -> dict[int, list[dict[str, Any]]]:
        """The rows of the pieces that are chats, by the piece's number."""
        found = {}
        for piece in self.pieces:
            if piece.part.chat:
                with naming(piece.part):
                    chats = read_chats(piece.part.chat, self.counter, max(self._lengths), self.passed)
                    found[piece.number] = list(islice(chats, piece.rows["train"]))
                    self.require(piece, "train", len(found[piece.number]), *self.passed.notes())
        return found

    @cached_property
    def counter(self) -> TokenCounter:
        """The tokenizer that counts tokens."""
        return load_counter(self.recipe.tokenizer)

    def require(self, piece: Piece, split: str, rows: int, *notes: str) -> None:
        """Raises: UsageError if there are fewer rows than a piece has in a split."""
        wanted = piece.rows[split]
        if rows < wanted:
            why = f" ({'; '.join(notes)})" if notes else ""
            raise UsageError(
                f"expected {wanted} rows of {split}, as its weight says, and there are {rows}{why}; lower its weight, or {split}"
            )


def mix(mixture: Mixture, workers: int, progress: Progress) -> bool:
    """True if the mixture was made now, False if it was there already.

    `progress` is called with the number of further rows that are built or put in their place: twice for each row of a variant.

    Raises: ConflictError if the folder holds something else under this name, or if another process makes the mixture; UsageError if a
    part has too few rows.
    """
    target = mixture.folder / mixture.recipe.name
    if target.exists() and any(target.iterdir()):
        _refuse_other(target, mixture.manifest)
        return False
    with alone(mixture.build):
        _refuse_other(mixture.staging, mixture.manifest)
        mixture.staging.mkdir(parents=True, exist_ok=True)
        write_manifest(mixture.staging, mixture.manifest)
        for piece in mixture.pieces:
            if piece.part.variant:
                build_variant(mixture.build_of(piece), workers, None, progress)
        done = mixture.staging / "rows"
        done.mkdir(exist_ok=True)
        for split in SPLITS:
            _write_split(mixture, split, done, progress)
        write_manifest(done, mixture.manifest)
        done.rename(target)
        shutil.rmtree(mixture.staging)
    return True


@contextmanager
def naming(part: Part) -> Iterator[None]:
    """Errors name the part that they are about, and no flag of another command."""
    try:
        yield
    except SynthctxError as error:
        said = re.sub(r"^--(corpus|data): ", "", str(error))
        raise type(error)(said if said.startswith(f"{part.name}: ") else f"{part.name}: {said}") from None


def _refuse_other(target: Path, manifest: Mapping[str, Any]) -> None:
    known = read_manifest(target)
    if target.exists() and any(target.iterdir()) and known.get("fingerprint") != manifest["fingerprint"]:
        raise ConflictError(
            f"{target} holds something else: {target / MANIFEST} has the fingerprint {known.get('fingerprint')}, and this recipe has "
            f"{manifest['fingerprint']}; remove that folder, or give the recipe another name"
        )


def _write_split(mixture: Mixture, split: str, folder: Path, progress: Progress) -> None:
    """Writes the shards of a split. Rows on one context stay together."""
    loaded = [_rows(mixture, piece, split) for piece in mixture.pieces if piece.rows[split]]
    if not loaded:
        return
    rows = datasets.concatenate_datasets(loaded)
    order = _order(mixture, split, loaded)
    tokens = sum(rows["num_tokens"])
    count = -(-tokens // SHARD_TOKENS)
    for shard in plan_shards(split, len(rows), count):
        if is_whole(folder / shard.name, shard):
            progress(shard.rows)
            continue
        with whole(folder / shard.name) as aside, aside.open("wb") as file:
            write_tables(file, _tables(mixture, rows.select(order[shard.start : shard.stop]), shard, progress))


def _tables(mixture: Mixture, rows: datasets.Dataset, shard: Shard, progress: Progress) -> Iterator[pa.Table]:
    """The rows of a shard as tables of a row group each, with the names that they have in the mixture."""
    recipe, arrow, at = mixture.recipe, rows.with_format("arrow"), 0
    for size in row_groups(len(prompt[0]["content"]) for prompt in rows["prompt"]):
        table = arrow[at : at + size].select(SCHEMA.names).cast(SCHEMA)
        names = [f"{recipe.task}/{recipe.name}/{shard.split}/{shard.start + at + i:06d}" for i in range(size)]
        yield table.set_column(0, SCHEMA.field("id"), pa.array(names, pa.string()))
        at += size
        progress(size)


def _rows(mixture: Mixture, piece: Piece, split: str) -> datasets.Dataset:
    """The rows of a piece in a split.

    Raises: UsageError if there are too few.
    """
    if piece.part.variant:
        files = sorted(str(file) for file in mixture.build_of(piece).target.glob(f"{split}-*.parquet"))
        cache = str(mixture.staging / "cache")
        with _quiet():
            return datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
    if piece.part.chat:
        return datasets.Dataset.from_list(mixture.chats[piece.number], datasets.Features.from_arrow_schema(SCHEMA))
    with naming(piece.part):
        found = load_rows(parse_variant_address(piece.part.name), split)
        mixture.require(piece, split, len(found))
    groups = rng(mixture.recipe.seed, mixture.recipe.task, mixture.recipe.name, split, piece.number).shuffled(
        _contexts(found)
    )
    return found.select([i for group in groups for i in group][: piece.rows[split]])


def _contexts(rows: datasets.Dataset) -> list[list[int]]:
    """The indices of the rows of each context: of rows in turn that have the same documents."""
    return [list(group) for _, group in groupby(range(len(rows)), key=_context_of(rows))]


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the progress bars of datasets, beside that of the mixture."""
    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not shown:
            datasets.enable_progress_bars()


def _order(mixture: Mixture, split: str, parts: Sequence[datasets.Dataset]) -> list[int]:
    """The order of the rows of all parts, one after the other: by context, at random, or from few tokens to many."""
    recipe = mixture.recipe
    groups: list[tuple[int, list[int]]] = []
    first = 0
    for rows in parts:
        tokens = rows["num_tokens"]
        groups += [
            (_budget(mixture.budgets, tokens[group[0]]), [first + i for i in group]) for group in _contexts(rows)
        ]
        first += len(rows)
    shuffled = rng(recipe.seed, recipe.task, recipe.name, split, "mixture").shuffled(groups)
    if recipe.order == "short-first":
        shuffled.sort(key=lambda group: group[0])
    return [i for _, group in shuffled for i in group]


def _budget(budgets: Sequence[int], tokens: int) -> int:
    """The budget that a row of some tokens keeps: the smallest that it does not exceed."""
    return min((one for one in budgets if one >= tokens), default=tokens)


def _context_of(rows: datasets.Dataset) -> Callable[[int], str]:
    def context(i: int) -> str:
        row = rows[i]
        message: str = row["prompt"][0]["content"]
        return message[: row["documents"][-1]["end"]] if row["documents"] else f"{i} {message}"

    return context
