"""Rows that share a context: training and answering read it once, and nothing else changes."""

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model

from analysis.engine.conditions import positions, reads_alike, spans
from analysis.interventions import Knockout, TwinPatch, intervene
from synthctx_data.schema import to_table
from tests.conftest import examples_for
from tests.families import FAMILIES, OFTEN, STATEFUL, make
from training.contexts import can_share_context
from training.generate import Batch, batches, common_context, generate_batch
from training.loss import labelled_loss
from training.model import shares_contexts
from training.options import Recipe
from training.sequences import collate_branches, join, with_skips
from training.tiny import make_tiny
from training.turns import IGNORED, load_tokenizer, prompt_ids

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
_END = 96
ABLE = [family for family in OFTEN if can_share_context(make(family).config)]


def rows(shared: int, sizes: list[tuple[int, int]], seed: int = 0) -> list[dict[str, list[int]]]:
    """Training sequences with a common beginning: each has a question and an answer of these sizes behind it."""
    drawn = torch.Generator().manual_seed(seed)

    def ids(size: int) -> list[int]:
        return torch.randint(3, 97, (size,), generator=drawn).tolist()

    context, made = ids(shared), []
    for question, answer in sizes:
        asked, answered = ids(question), ids(answer)
        made.append(
            {
                "input_ids": [*context, *asked, *answered],
                "labels": [IGNORED] * (shared + question) + answered,
            }
        )
    return made


@pytest.mark.parametrize("family", ABLE)
def test_joined_rows_have_the_loss_and_gradient_of_single_ones(family: str) -> None:
    parts = [rows(40, [(5, 3), (7, 1), (2, 6)]), rows(31, [(4, 2), (3, 3)], 1), rows(20, [(6, 2)], 2)]
    one, other = make(family), make(family)
    loss, scored, _ = labelled_loss(one, collate_branches([join(part) for part in parts]))
    singles = [labelled_loss(other, collate_branches([row])) for part in parts for row in part]
    assert scored == sum(count for _, count, _ in singles)
    slow = sum(single * count for single, count, _ in singles) / scored
    torch.testing.assert_close(loss, slow, rtol=1e-4, atol=1e-5)
    loss.backward()
    slow.backward()
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_joined_rows_read_their_context_once() -> None:
    part = rows(40, [(5, 3), (7, 1), (2, 6)])
    assert len(join(part)["input_ids"]) == 40 + 8 + 8 + 8


@torch.no_grad()
@pytest.mark.parametrize("joined", [True, False])
def test_skipped_positions_are_those_of_a_long_row(joined: bool) -> None:
    """The loss is that of the row in a longer one, in which other text stands in the gap and is hidden."""
    part = rows(40, [(5, 3), (7, 2)])
    items = [join(part)] if joined else part
    made = list(with_skips(Dataset.from_list(items), 200, seed=3))
    model, drawn = make("llama"), [row["skip"] for row in made]
    batch = collate_branches(made)
    assert batch["position_ids"].max() < 200
    for at, (item, (cut, by)) in enumerate(zip(made, drawn, strict=True)):
        assert 0 < cut < (40 if joined else 48)
        loss, scored, _ = labelled_loss(model, {name: value[at : at + 1] for name, value in batch.items()})
        slow = 0.0
        for row in part if joined else [item]:
            ids = [*row["input_ids"][:cut], *[9] * by, *row["input_ids"][cut:]]
            mask = torch.tensor([[1] * cut + [0] * by + [1] * (len(row["input_ids"]) - cut)])
            logits = model(torch.tensor([ids]), attention_mask=mask).logits[0].log_softmax(-1)
            size = len(row["labels"]) - row["labels"].count(IGNORED)
            slow -= sum(float(logits[i - 1, ids[i]]) for i in range(len(ids) - size, len(ids)))
        assert float(loss) * scored == pytest.approx(slow, rel=1e-3)


def test_skips_reach_the_whole_target_and_are_the_same_each_time() -> None:
    items = Dataset.from_list(rows(40, [(5, 3)]) * 300)
    skips = with_skips(items, 200, seed=3)["skip"]
    assert skips == with_skips(items, 200, seed=3)["skip"] != with_skips(items, 200, seed=4)["skip"]
    cuts, by = zip(*skips, strict=True)
    assert (min(by), max(by)) == (0, 200 - 48)
    assert (min(cuts), max(cuts)) == (1, 44)


def batch_of(prompts: list[list[int]], shared: int) -> Batch:
    return Batch([{"id": str(i)} for i in range(len(prompts))], prompts, max(map(len, prompts)), shared)


def answers(model, batch: Batch, once: bool) -> list[list[int]]:
    arguments = {
        "input_ids": torch.tensor([batch.padded(prompt, 0) for prompt in batch.prompts]),
        "attention_mask": torch.tensor([batch.padded([1] * len(prompt), 0) for prompt in batch.prompts]),
    }
    with torch.no_grad():
        written = generate_batch(
            model, batch, once, **arguments, do_sample=False, max_new_tokens=6, eos_token_id=_END, pad_token_id=0
        )
    rows = written[:, batch.width :].tolist()
    return [row[: row.index(_END) + 1] if _END in row else row for row in rows]


@pytest.mark.parametrize("family", ABLE)
def test_answers_are_those_of_rows_alone(family: str) -> None:
    model = make(family)
    prompts = [row["input_ids"] for row in rows(40, [(5, 1), (9, 1), (2, 1)])]
    together = answers(model, batch_of(prompts, 40), True)
    assert together == answers(model, batch_of(prompts, 40), False)
    assert together == [answers(model, batch_of([prompt], 0), False)[0] for prompt in prompts]


@pytest.mark.parametrize("mode", ["zero", "uniform"])
def test_a_knockout_does_the_same_where_the_context_is_read_once(mode: str) -> None:
    model = make("llama")
    prompts = [row["input_ids"] for row in rows(40, [(5, 1), (9, 1), (2, 1)])]
    heads = [(0, 1), (1, 0), (1, 2)]
    with intervene(model, Knockout(heads, mode)):
        together = answers(model, batch_of(prompts, 40), True)
        alone = [answers(model, batch_of([prompt], 0), False)[0] for prompt in prompts]
    assert together == alone
    assert together != answers(model, batch_of(prompts, 40), True)


def test_patching_between_adapters_does_the_same_where_the_context_is_read_once() -> None:
    torch.manual_seed(0)
    settings = LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False, lora_alpha=32)
    model = get_peft_model(make("llama"), settings)
    model.add_adapter("donor", settings)
    model.eval()
    prompts = [row["input_ids"] for row in rows(40, [(5, 1), (9, 1), (2, 1)])]
    batch = batch_of(prompts, 40)
    ids = torch.tensor([batch.padded(prompt, 0) for prompt in prompts] * 2)
    mask = torch.tensor([batch.padded([1] * len(prompt), 0) for prompt in prompts] * 2)
    names = ["donor"] * 3 + ["default"] * 3
    settings = {"do_sample": False, "max_new_tokens": 5, "min_new_tokens": 5, "eos_token_id": _END, "pad_token_id": 0}

    def written(once: bool, heads: list[tuple[int, int]]) -> list[list[int]]:
        asked = {"input_ids": ids, "attention_mask": mask, "adapter_names": names, **settings}
        with torch.no_grad(), intervene(model, TwinPatch(heads)):
            return generate_batch(model, batch, once, **asked)[:, batch.width :].tolist()

    every = [(layer, head) for layer in range(2) for head in range(4)]
    assert written(True, every) == written(False, every) != written(True, [(0, 0)])
    assert written(True, [(0, 0)]) == written(False, [(0, 0)])


def test_only_sdpa_takes_the_masks_of_training() -> None:
    """Eager attention adds a mask of booleans to its logits, which hides nothing."""
    config = make("llama").config
    for attention, shares in (("auto", True), ("sdpa", True), ("eager", False)):
        assert shares_contexts(Recipe(model="m", data=["a:b"], attention=attention), config) is shares


@pytest.mark.parametrize("family", sorted({*OFTEN, "mistral", *STATEFUL} - set(ABLE)))
def test_models_with_windows_or_states_read_rows_one_by_one(family: str) -> None:
    assert {**FAMILIES, **STATEFUL}[family]
    assert not can_share_context(make(family).config)


def table(questions: int) -> list[dict]:
    examples = examples_for("mdqa_synth", "templated_haystack", questions=questions, train=8)
    return to_table([examples.make("train", i) for i in range(8)]).to_pylist()


def test_batches_keep_rows_on_one_context_together() -> None:
    found = [[int(row["id"][-1]) for row in batch] for batch in batches(table(4), 3)]
    assert all(len({number // 4 for number in batch}) == 1 for batch in found)
    assert sorted(number for batch in found for number in batch) == list(range(8))
    assert [len(batch) for batch in batches(table(1), 3)] == [3, 3, 2]
    assert [len(batch) for batch in batches(table(4), None, 16)] == [4, 4]
    assert [len(batch) for batch in batches(table(4), None)] == [1] * 8
    assert [len(batch) for batch in batches(table(1), None, 16)] == [1] * 8


def test_positions_stand_where_the_tokens_are(tmp_path) -> None:
    """The needle's and the question's columns of a padded batch hold the tokens that they hold in each row alone."""
    tokenizer = load_tokenizer(str(make_tiny(tmp_path / "tiny")))
    some = table(4)[:4]
    prompts = [prompt_ids(tokenizer, row) for row in some]
    batch = Batch(some, prompts, max(map(len, prompts)), common_context(some, prompts))
    assert batch.shared > 100
    for name in ("needle", "question"):
        where = positions(tokenizer, batch, name)
        for i, row in enumerate(some):
            alone = Batch([row], [prompts[i]], len(prompts[i]))
            mine = positions(tokenizer, alone, name).prompt[0]
            ids = torch.tensor(batch.padded(prompts[i], 0))
            assert ids[where.prompt[i]].tolist() == torch.tensor(prompts[i])[mine].tolist()
    assert reads_alike(batch, positions(tokenizer, batch, "both"))
    assert not reads_alike(batch, positions(tokenizer, batch, "needle"))
    hidden = spans(tokenizer, batch, lambda tokens: tokens.needles)
    assert not reads_alike(batch, positions(tokenizer, batch, "both"), hidden)
    assert reads_alike(batch, positions(tokenizer, batch, "answer"), hidden)
