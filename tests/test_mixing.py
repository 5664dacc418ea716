"""Mixtures: parts with weights become one data set, which is built, checked, described, loaded, trained on and pushed as any other."""

import hashlib
import json
import shutil
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st

from builders.mixing.mix import Mixture, mix, pieces_of
from builders.mixing.recipe import RECIPES, divided, read_recipe
from synthctx_data.errors import ConflictError, CorpusError, UsageError
from synthctx_data.example import CHAT
from synthctx_data.row_checks import documents_of
from tests.commands import synthctx

CHATS = [
    {
        "messages": [
            {"role": "user", "content": f"What is {i} and {i}?"},
            {"role": "assistant", "content": f"It is {2 * i}."},
        ]
    }
    for i in range(9)
]
MORE_CHATS = [
    {
        "conversations": [
            {"from": "human", "value": "Hello?"},
            {"from": "gpt", "value": "Hello."},
            {"from": "human", "value": "?"},
        ]
    },
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "One."},
        ]
    },
    {"prompt": [{"role": "user", "content": "Two?"}], "completion": [{"role": "assistant", "content": "Two."}]},
]
NO_CHATS = [
    {"messages": [{"role": "system", "content": "Be brief."}]},
    {"prompt": "Three?"},
    {"messages": "no"},
    {"text": "no"},
]
RECIPE = {
    "task": "mdqa_synth",
    "train": 40,
    "validation": 10,
    "max_tokens": 1024,
    "parts": [
        {
            "variant": "templated_haystack",
            "weight": 2,
            "max_tokens": "512:2,1024:1",
            "options": {"questions": 4, "rivals": 2},
        },
        {"variant": "symbolic_haystack", "options": {"key_style": "word"}},
        {"chat": "chats.jsonl", "weight": 0.5},
    ],
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [*NO_CHATS, *MORE_CHATS, *CHATS]))
    return tmp_path


def recipe_file(**changes: object) -> str:
    Path("recipe.yaml").write_text(yaml.safe_dump({**RECIPE, **changes}))
    return "recipe.yaml"


def mixture(output: str = "out", **changes: object) -> Mixture:
    recipe = read_recipe(recipe_file(**changes))
    return Mixture(recipe, Path(output) / recipe.task)


def made(output: str = "out", workers: int = 1, **changes: object) -> Path:
    one = mixture(output, **changes)
    assert mix(one, workers, lambda rows: None)
    return one.build.target


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def rows_of(folder: Path, split: str) -> list[dict]:
    return list(
        load_dataset("parquet", data_files=[str(file) for file in sorted(folder.glob(f"{split}-*"))], split="train")
    )


def test_each_part_has_its_share_and_contexts_stay_whole() -> None:
    folder = made()
    train, validation = rows_of(folder, "train"), rows_of(folder, "validation")
    assert [row["id"] for row in train] == [f"mdqa_synth/mixture/train/{i:06d}" for i in range(40)]
    kinds = Counter((row["concept_expression"], (row["num_tokens"] - 1).bit_length()) for row in train)
    assert {kind: count for kind, count in kinds.items() if kind[0] != CHAT} == {
        ("templated", 9): 15,
        ("templated", 10): 8,
        ("symbolic", 10): 11,
    }
    chats = [row for row in train if row["concept_expression"] == CHAT]
    assert len(chats) == 6
    assert {"Hello?", "One?", "Two?"} <= {row["prompt"][0]["content"] for row in chats}
    assert CHAT not in {row["concept_expression"] for row in validation}
    for rows in (train, validation):
        contexts = [documents for documents, _ in groupby(map(documents_of, rows))]
        assert len(contexts) == len({*contexts})
        assert len(contexts) < len(rows)
    assert [row["concept_expression"] for row in train] != sorted(row["concept_expression"] for row in train)


def test_the_same_recipe_gives_the_same_bytes_with_any_number_of_workers() -> None:
    assert hashes(made("one")) == hashes(made("two", workers=2))
    assert hashes(made("one-more", seed=1)) != hashes(Path("one/mdqa_synth/mixture"))


def test_short_rows_come_first() -> None:
    changes = {
        "max_tokens": "1000:1,600:1,700:1",
        "parts": [{"variant": "symbolic_padding"}, {"chat": "chats.jsonl", "weight": 0.2}],
    }
    rows = rows_of(made(order="short-first", **changes), "train")
    budgets = [min(one for one in (600, 700, 1000) if one >= row["num_tokens"]) for row in rows]
    assert budgets == sorted(budgets)
    assert {*budgets} == {600, 700, 1000}


@pytest.mark.parametrize("after", [1, 20, 45, 70])
def test_an_interrupted_mixture_goes_on_and_ends_with_the_same_bytes(after: int) -> None:
    whole = hashes(made("whole"))
    done = 0

    def interrupt(rows: int) -> None:
        nonlocal done
        done += rows
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mix(mixture(), 1, interrupt)
    assert not (Path("out/mdqa_synth/mixture")).exists()
    assert hashes(made()) == whole
    assert sorted(file.name for file in Path("out/mdqa_synth").iterdir()) == [".mixture.lock", "mixture"]


def test_a_command_makes_checks_describes_and_shows_it() -> None:
    ran = synthctx("mix", recipe_file(), cwd=Path.cwd())
    assert ran.returncode == 0, ran.stderr
    assert "synthctx/mdqa_synth/mixture: 50 examples of 3 parts" in ran.stdout
    assert "chats that do not begin with a user's message and an answer, passed over: 4 (" in ran.stderr
    card = Path("synthctx/mdqa_synth/README.md").read_text()
    assert yaml.safe_load(card.split("```yaml\n")[1].split("```")[0]) == yaml.safe_load(
        yaml.safe_dump(read_recipe("recipe.yaml").model_dump(mode="json", exclude_defaults=True))
    )
    assert "synthctx mix mixture.yaml" in card
    assert sorted(yaml.safe_load(card.split("---")[1])["license"]) == ["apache-2.0", "unknown"]
    assert load_dataset("synthctx/mdqa_synth", "mixture").num_rows == {"train": 40, "validation": 10}
    checked = synthctx("check", "synthctx/mdqa_synth:mixture", cwd=Path.cwd())
    assert checked.returncode == 0, checked.stdout
    chat = next(
        i
        for i, row in enumerate(rows_of(Path("synthctx/mdqa_synth/mixture"), "train"))
        if row["concept_expression"] == CHAT
    )
    shown = synthctx("show", "synthctx/mdqa_synth:mixture", "--index", str(chat), cwd=Path.cwd())
    assert "?\n" in shown.stdout
    again = synthctx("mix", "recipe.yaml", cwd=Path.cwd())
    assert "were there already, from the same recipe" in again.stdout


def test_a_card_is_a_recipe() -> None:
    synthctx("mix", recipe_file(), cwd=Path.cwd())
    Path("again.yaml").write_text(
        Path("synthctx/mdqa_synth/README.md").read_text().split("```yaml\n")[1].split("```")[0]
    )
    assert synthctx("mix", "again.yaml", "--output", "again", cwd=Path.cwd()).returncode == 0
    assert hashes(Path("synthctx/mdqa_synth/mixture")) == hashes(Path("again/mdqa_synth/mixture"))


def test_a_mixture_that_was_removed_is_listed_no_more() -> None:
    Path("mine.yaml").write_text(
        "{task: mdqa_synth, name: my_mix, train: 4, validation: 0, max_tokens: 512, parts: [{weight: 1, variant: symbolic_padding}]}"
    )
    assert synthctx("mix", "mine.yaml", cwd=Path()).returncode == 0
    folder = Path("synthctx/mdqa_synth")
    listing = [folder / name for name in ("README.md", "croissant.json")]
    assert all("my_mix" in file.read_text() for file in listing)
    shutil.rmtree(folder / "my_mix")
    small = ("--max-tokens", 512, "--train", 2, "--validation", 0, "--workers", 1)
    assert synthctx("build", "mdqa_synth", "symbolic_padding", *small, cwd=Path()).returncode == 0
    assert not any("my_mix" in file.read_text() for file in listing)


def test_a_mixture_holds_sets_that_are_built_already_and_other_mixtures() -> None:
    made("first")
    synthctx("mix", "recipe.yaml", "--output", "first", cwd=Path.cwd())  # writes the card
    parts = [{"data": "first/mdqa_synth:mixture", "weight": 1}, {"variant": "templated_padding", "weight": 1}]
    folder = made(train=30, validation=0, parts=parts)
    assert len(rows_of(folder, "train")) == 30
    manifest = json.loads((folder / "build.json").read_text())
    assert manifest["budgets"] == [512, 1024]
    with pytest.raises(
        UsageError,
        match=r"first/mdqa_synth:mixture: expected 50 rows of train, as its weight says, and there are 40; lower",
    ):
        made("other", train=100, validation=0, parts=parts)


def test_budgets_can_be_given_for_all_parts() -> None:
    recipe = read_recipe(recipe_file(), {"max_tokens": "512:3,2048:1", "train": 80})
    assert {(piece.part.name, piece.tokens): piece.rows["train"] for piece in pieces_of(recipe)} == {
        ("templated_haystack", 512): 34,
        ("templated_haystack", 2048): 12,
        ("symbolic_haystack", 512): 17,
        ("symbolic_haystack", 2048): 6,
        ("chats.jsonl", None): 11,
    }


@given(total=st.integers(0, 5000), weights=st.lists(st.floats(0.01, 1000), min_size=1, max_size=8))
def test_rows_are_divided_by_weights_and_none_is_lost(total: int, weights: list[float]) -> None:
    found = divided(total, weights)
    assert sum(found) == total
    assert all(abs(rows - total * weight / sum(weights)) < 1.001 for rows, weight in zip(found, weights, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "symbolic_haystack"}, "expected a name that no variant of mdqa_synth has"),
        ({"name": "../x"}, "expected lower-case letters"),
        ({"task": "mdqa"}, "mdqa"),
        ({"parts": []}, "parts: expected one part at least, got none"),
        ({"parts": [{"variant": "a", "data": "b"}]}, "expected one of variant, data and chat, got variant and data"),
        ({"parts": [{"weight": 1}]}, "expected one of variant, data and chat, got none"),
        (
            {"parts": [{"variant": "x", "weight": 0}]},
            r"parts\.0\.weight: Input should be greater than or equal to 0.000001",
        ),
        (
            {"parts": [{"data": "x", "options": {"questions": 2}}]},
            "expected max_tokens and options beside a variant only",
        ),
        ({"order": "sorted"}, "order: Input should be 'mixed' or 'short-first'"),
        (
            {"max_tokens": "512:a"},
            r"max_tokens: expected a number of tokens from 128 to 1048576, or several with weights.*got '512:a'",
        ),
        ({"max_tokens": "100"}, r"max_tokens: expected a number of tokens from 128"),
        ({"max_tokens": "512,512"}, r"max_tokens: expected a number of tokens from 128"),
        ({"parts": [{"data": "a:b"}, {"data": "a:b"}]}, "parts: expected different sets and files, got a:b twice"),
        ({"parts": [{"chat": ""}]}, r"parts\.0\.chat: String should have at least 1 character"),
        ({"train": 10**18}, "train: Input should be less than or equal to 10000000"),
        ({"trian": 3}, "trian: .*did you mean train"),
    ],
)
def test_a_wrong_recipe_is_one_line(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_recipe(recipe_file(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": [{"variant": "nothing"}]}, "mdqa_synth has no variant 'nothing'"),
        ({"parts": [{"variant": "llm_haystack"}]}, "llm_haystack: a language model writes it; build it first"),
        (
            {"parts": [{"variant": "symbolic_haystack", "options": {"rivals": 2}}]},
            "--rivals: symbolic_haystack does not read it",
        ),
        (
            {"parts": [{"variant": "symbolic_haystack", "options": {"train": 2}}]},
            "symbolic_haystack: --train is no option of a part",
        ),
        ({"parts": [{"chat": "chats.jsonl"}]}, "validation: expected a part besides chats"),
        ({"parts": [{"chat": "none.jsonl"}], "validation": 0}, "none.jsonl"),
        (
            {"parts": [{"variant": "symbolic_haystack", "weight": 1000}, {"variant": "symbolic_padding"}]},
            "symbolic_padding: its weight gives it no row of 40",
        ),
        ({"max_tokens": None, "parts": [{"variant": "symbolic_haystack"}]}, "symbolic_haystack: expected max_tokens"),
    ],
)
def test_a_recipe_that_cannot_be_made_says_why(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mix(mixture(**changes), 1, lambda rows: None)


def test_another_recipe_does_not_mix_with_what_is_there() -> None:
    made()
    with pytest.raises(
        ConflictError,
        match=r"out/mdqa_synth/mixture holds something else.*remove that folder, or give the recipe another name",
    ):
        mix(mixture(seed=1), 1, lambda rows: None)
    with pytest.raises(
        UsageError, match=r"expected a YAML file with a recipe, or the name of one that comes with synthctx"
    ):
        read_recipe("nowhere.yaml")


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*/*.yaml")), ids=lambda file: file.stem)
def test_recipes_that_come_with_synthctx_can_be_made(file: Path) -> None:
    name = str(file.relative_to(RECIPES).with_suffix(""))
    recipe = read_recipe(name, {"train": 24, "validation": 8, "max_tokens": "1024"})
    one = Mixture(recipe, Path("own") / recipe.task)
    assert mix(one, 1, lambda rows: None)
    assert len(rows_of(one.build.target, "train")) == 24


def test_a_budget_is_read_as_it_is_written() -> None:
    """YAML 1.1 takes 2048:4 for a number to the base 60."""
    Path("recipe.yaml").write_text(
        "task: mdqa_synth\ntrain: 4\nmax_tokens: 2048:4\nparts: [{variant: symbolic_padding}]\n"
    )
    assert read_recipe("recipe.yaml").max_tokens == {2048: 4}
    Path("recipe.yaml").write_text("task: mdqa_synth\ntrain: 4\ntrain: 5\nparts: []\n")
    with pytest.raises(UsageError, match=r"recipe.yaml cannot be read: 'train' comes twice"):
        read_recipe("recipe.yaml")


def test_neighbouring_seeds_and_parts_share_no_question() -> None:
    parts = [{"variant": "symbolic_padding"}, {"variant": "symbolic_haystack"}]
    folders = [made(f"out-{seed}", seed=seed, parts=parts) for seed in (0, 1)]
    asked = [
        row["question"] for folder in folders for split in ("train", "validation") for row in rows_of(folder, split)
    ]
    assert len(asked) == len({*asked})


def test_a_built_set_gives_a_sample_in_whole_contexts() -> None:
    recipe_file(order="short-first")
    synthctx("mix", "recipe.yaml", "--output", "first", cwd=Path.cwd())
    parts = [{"data": "first/mdqa_synth:mixture"}, {"variant": "symbolic_padding"}]
    rows = [
        row
        for row in rows_of(made(train=40, validation=0, parts=parts), "train")
        if row["context_diversity"] != "padding"
    ]
    assert len(rows) == 20
    first = [row["prompt"] for row in rows_of(Path("first/mdqa_synth/mixture"), "train")[:20]]
    assert not all(row["prompt"] in first for row in rows)


def test_a_set_counted_by_another_tokenizer_is_refused() -> None:
    from training.tiny import make_tiny

    make_tiny(Path("tiny"))
    parts = [{"variant": "symbolic_padding", "max_tokens": 512, "options": {"key_style": "word"}}]
    made("first", tokenizer="tiny", parts=parts)
    with pytest.raises(
        UsageError, match=r"first/mdqa_synth:mixture: its tokens were counted by another tokenizer than the recipe's"
    ):
        made(parts=[{"data": "first/mdqa_synth:mixture"}])


def test_too_few_chats_say_what_was_passed_over() -> None:
    parts = [{"variant": "symbolic_padding"}, {"chat": "chats.jsonl", "weight": 5}]
    with pytest.raises(
        UsageError,
        match=r"chats.jsonl: expected 33 rows of train, .* there are 12 \(chats that do not begin with .*: 4",
    ):
        made(parts=parts)
    Path("chats.jsonl").write_bytes(b"\x00\xff\n")
    with pytest.raises((UsageError, CorpusError), match=r"^chats.jsonl: "):
        made(parts=parts)
