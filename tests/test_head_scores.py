"""Scores of heads, against slow loops over transformers' own eager attention; and packed questions against single ones."""

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from analysis.attention_scores import mass, wu_forced
from analysis.causal_scores import causal
from analysis.engine.detect import score_rows
from analysis.interventions import Intervention, Knockout, Positions, intervene
from analysis.logit_score import logit
from analysis.options import ScoreName
from analysis.qrhead_score import qrhead
from analysis.spans import Tokens, neutral, tokens_of
from analysis.writing_paths import find_paths
from analysis.wu_score import wu
from synthctx_data.errors import DatasetError, ModelError, UsageError
from tests.families import make, rarely
from tests.test_interventions import adapted
from tests.test_spans import rows_of
from training.tiny import INDUCTION, make_tiny
from training.turns import load_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
FAMILIES = ["llama", "gemma2", "mistral", "gpt2"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(str(tiny))


@pytest.fixture(scope="module")
def rows(tiny: Path) -> list[dict]:
    """Questions of one and of several needles; and three about one context."""
    options = {"tokenizer": str(tiny), "key_style": "word"}
    single = rows_of("mdqa_synth", "symbolic_haystack", 2, **options, max_tokens=512)
    several = rows_of("summhay_synth", "symbolic_haystack", 1, **options, max_tokens=512)
    return [*single, *(about(single[1], document) for document in (0, 3)), *several]


def about(row: dict, document: int) -> dict:
    """The same context, and a question about another of its documents."""
    message, span = row["prompt"][0]["content"], row["documents"][document]
    found = re.search(r"(\S+): (\S+)", message[span["start"] : span["end"]])
    question = re.sub(r"\S+\?$", f"{found[1]}?", row["question"])
    content = message[: span["start"]] + message[span["start"] :].replace(row["question"], question)
    start, end = span["start"] + found.start(2), span["start"] + found.end(2)
    needle = {"document": document, "hop": 0, **span, "answer_start": start, "answer_end": end}
    return {
        **row,
        "id": f"{row['id']}/{document}",
        "question": question,
        "answers": [found[2]],
        "prompt": [{"role": "user", "content": content}],
        "completion": [{"role": "assistant", "content": found[2]}],
        "needles": [needle],
    }


def random_model(family: str, tokenizer: PreTrainedTokenizerBase, attention: str | None = None) -> PreTrainedModel:
    return make(family, attention, vocab_size=len(tokenizer), max_position_embeddings=1024)


def attentions(model: PreTrainedModel, ids) -> Tensor:
    """(layer, head, row, key) of a model with eager attention."""
    with torch.no_grad():
        return torch.stack([a[0] for a in model(torch.tensor([list(ids)]), output_attentions=True).attentions])


def slow_wu(model: PreTrainedModel, tokens: Tokens, ends: list[int]) -> np.ndarray:
    """A decode loop in the style of Wu et al.'s code: a step a token, all attentions of each."""
    with torch.no_grad():
        read = model(torch.tensor([tokens.ids[: tokens.prompt - 1]]), use_cache=True)
        token, past, hits, produced = tokens.ids[tokens.prompt - 1], read.past_key_values, 0, 0
        for _ in range(50):
            step = model(torch.tensor([[token]]), past_key_values=past, use_cache=True, output_attentions=True)
            past, token = step.past_key_values, int(step.logits[0, -1].argmax())
            if token in ends:
                break
            produced += 1
            found = torch.zeros(len(step.attentions), step.attentions[0].shape[1])
            for layer, attention in enumerate(step.attentions):
                for head in range(attention.shape[1]):
                    at = int(attention[0, head, -1].topk(1).indices[0])
                    inside = sum(needle.start <= at < needle.stop for needle in tokens.needles)
                    found[layer, head] = inside * (at < len(tokens.ids) and tokens.ids[at] == token)
            hits = hits + found
    return (hits / len(tokens.answer)).numpy() if produced else np.full(())


@pytest.mark.parametrize("family", ["llama", "gemma2", "trained", *rarely("mistral", "gpt2")])
def test_wu_counts_as_a_decode_loop_does(family: str, tiny: Path, tokenizer, rows: list[dict]) -> None:
    if family == "trained":  # which copies: its answers begin as the right ones do, when it is told the first word
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(tiny)
        eager = AutoModelForCausalLM.from_pretrained(tiny, attn_implementation="eager")
        ends = [tokenizer.eos_token_id]
    else:
        model, eager, ends = random_model(family, tokenizer), random_model(family, tokenizer, "eager"), []
    for row in rows:
        tokens = tokens_of(tokenizer, row)
        for given in (0, 1):
            asked = Tokens(**{**vars(tokens), "prompt": tokens.prompt + given})
            (found,) = wu(model, [asked], ends, lambda *_: 0)
            np.testing.assert_allclose(found.total, slow_wu(eager, asked, ends), atol=1e-6)
            np.testing.assert_allclose(found.steps.sum(0) / len(asked.answer), found.total, atol=1e-6)
            np.testing.assert_allclose(found.needles.sum(0), found.total, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_forced_copies_are_counted_from_full_attentions(family: str, tokenizer, rows: list[dict]) -> None:
    model, eager = random_model(family, tokenizer), random_model(family, tokenizer, "eager")
    for row in rows:
        tokens = tokens_of(tokenizer, row)
        weights = attentions(eager, tokens.ids)
        expected = np.zeros(weights.shape[:2])
        for at in tokens.answer:
            top = weights[:, :, at - 1].argmax(-1).numpy()
            inside = sum((top >= needle.start) & (top < needle.stop) for needle in tokens.needles)
            expected += inside * (np.array(tokens.ids)[top] == tokens.ids[at]) / len(tokens.answer)
        (found,) = wu_forced(model, [tokens])
        np.testing.assert_allclose(found.total, expected, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_mass_is_summed_from_full_attentions(family: str, tokenizer, rows: list[dict]) -> None:
    model, eager = random_model(family, tokenizer), random_model(family, tokenizer, "eager")

    def slow(tokens: Tokens, needle: range) -> np.ndarray:
        rows = attentions(eager, tokens.ids)[:, :, tokens.question.start : tokens.question.stop]
        return rows[..., needle.start : needle.stop].sum(-1).mean(-1).numpy()

    for row in rows:
        tokens, nothing = tokens_of(tokenizer, row), neutral(tokenizer, row)
        (bare,) = mass(model, [tokens])
        (calibrated,) = mass(model, [tokens], [nothing])
        for number, needle in enumerate(tokens.needles):
            np.testing.assert_allclose(bare.needles[number], slow(tokens, needle), atol=1e-5)
            np.testing.assert_allclose(
                calibrated.needles[number], slow(tokens, needle) - slow(nothing, needle), atol=1e-5
            )
        assert (bare.total >= 0).all()
        assert (bare.total <= 1 + 1e-6).all()


@pytest.mark.parametrize("family", ["llama", "mistral", "gpt_neox", "adapted"])
def test_logit_contributions_are_those_of_each_position(family: str, tokenizer, rows: list[dict]) -> None:
    """Position by position: weight times value, through the projection's slice of the head, along the unembedding."""
    if family == "adapted":
        model, eager = adapted(1, vocab_size=len(tokenizer)), adapted(1, "eager", vocab_size=len(tokenizer))
    else:
        model, eager = random_model(family, tokenizer), random_model(family, tokenizer, "eager")
    tokens = tokens_of(tokenizer, rows[0])
    values: dict[int, Tensor] = {}

    class Values(Intervention):
        def attend(self, call, proceed):
            values[call.layer] = call.value[0].repeat_interleave(call.query.shape[1] // call.value.shape[1], 0)
            return proceed(call)

    weights = attentions(eager, tokens.ids)
    with torch.no_grad(), intervene(model, Values()):
        model(torch.tensor([tokens.ids]))
    unembedding = model.get_output_embeddings().weight.detach()
    expected = np.zeros(weights.shape[:2])
    (needle,) = tokens.needles
    for layer, path in find_paths(model).items():
        heads, _, size = values[layer].shape
        for head in range(heads):
            put_out = torch.zeros(len(tokens.ids), heads * size)
            put_out[:, head * size : (head + 1) * size] = values[layer][head]
            with torch.no_grad():
                written = path.projection(put_out) - path.projection(torch.zeros(1, heads * size))
            for at in tokens.answer:
                added = weights[layer, head, at - 1] * (written @ unembedding[tokens.ids[at]])
                inside = added[needle.start : needle.stop].sum()
                share = len(needle) / (at - len(needle))
                expected[layer, head] += float(inside - share * (added.sum() - inside)) / len(tokens.answer)
    (found,) = logit(model, [tokens])
    np.testing.assert_allclose(found.total, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("family", ["llama", "gpt2", *rarely("mistral", "gemma2")])
@pytest.mark.parametrize("score", ["edge", "ablate"])
def test_causal_scores_are_those_of_a_pass_for_each_head(family: str, score: str, tokenizer, rows: list[dict]) -> None:
    model = random_model(family, tokenizer)
    for row in rows[::4]:
        tokens = tokens_of(tokenizer, row)
        ids, at = torch.tensor([tokens.ids]), torch.tensor(list(tokens.answer))

        def likely() -> Tensor:
            with torch.no_grad():
                steps = model(ids, use_cache=False).logits[0, at - 1].log_softmax(-1)
            return steps.gather(1, ids[0, at][:, None])[:, 0]

        prompt = torch.zeros(1, len(tokens.ids), dtype=torch.bool)
        prompt[0, tokens.answer.start - 1 :] = True
        found = causal(model, tokens, score)
        clean = likely()
        columns = [tokens.needles, *([needle] for needle in tokens.needles)] if score == "edge" else [()]
        for number, needles in enumerate(columns):
            hidden = torch.zeros(1, len(tokens.ids), dtype=torch.bool)
            for needle in needles:
                hidden[0, needle.start : needle.stop] = True
            for layer in range(found.total.shape[0]):
                for head in range(found.total.shape[1]):
                    mode = {"mode": "edge", "hidden": hidden} if score == "edge" else {"mode": "zero"}
                    with intervene(model, Knockout([(layer, head)], positions=Positions(prompt, True), **mode)):
                        lost = clean - likely()
                    mine = found.steps[:, layer, head] if not number else found.needles[number - 1, layer, head]
                    expected = lost.numpy() if not number else lost.mean().numpy()
                    np.testing.assert_allclose(mine, expected, atol=2e-4)


@pytest.mark.parametrize("score", ["wu", "wu_forced", "mass", "qrhead", "logit"])
def test_questions_on_one_context_score_together_as_they_do_alone(score: str, tokenizer, rows: list[dict]) -> None:
    """Packed as branches, with answers that end at different steps."""
    model = random_model("llama", tokenizer)
    questions = [tokens_of(tokenizer, row) for row in rows[1:4]]
    nothing = [neutral(tokenizer, row) for row in rows[1:4]]
    ends = list(range(0, len(tokenizer), 12))
    run = {
        "wu": lambda some, _: wu(model, some, ends, lambda *_: 0),
        "wu_forced": lambda some, _: wu_forced(model, some),
        "mass": lambda some, neutral: mass(model, some, neutral),
        "qrhead": lambda some, neutral: qrhead(model, some, neutral),
        "logit": lambda some, _: logit(model, some),
    }[score]
    together = run(questions, nothing)
    for i, question in enumerate(questions):
        (alone,) = run([question], nothing[i : i + 1])
        np.testing.assert_allclose(together[i].steps, alone.steps, atol=1e-4)
        np.testing.assert_allclose(together[i].needles, alone.needles, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("score", get_args(ScoreName))
def test_scores_on_a_gpu_are_those_on_a_cpu(score: ScoreName, tokenizer, rows: list[dict]) -> None:
    model = random_model("llama", tokenizer)
    here, there = (list(score_rows(model.to(device), tokenizer, rows[:4], score)) for device in ("cpu", "cuda"))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one.steps, other.steps, atol=1e-4)
        np.testing.assert_allclose(one.needles, other.needles, atol=1e-4)


def test_a_model_that_keeps_a_state_is_scored_one_branch_at_a_time(tokenizer, rows: list[dict]) -> None:
    model = make("qwen3_next", vocab_size=len(tokenizer), max_position_embeddings=1024)
    together = mass(
        model, [tokens_of(tokenizer, row) for row in rows[1:3]], [neutral(tokenizer, row) for row in rows[1:3]]
    )
    for row, one in zip(rows[1:3], together, strict=True):
        (alone,) = mass(model, [tokens_of(tokenizer, row)], [neutral(tokenizer, row)])
        np.testing.assert_allclose(one.total, alone.total, atol=1e-6)
    scored = list(score_rows(model, tokenizer, rows[:3], "wu_forced"))
    assert all(np.isnan(one.total[0]).all() and not np.isnan(one.total[1]).any() for one in scored)
    with pytest.raises(ModelError, match="take the score wu_forced, mass or logit"):
        list(score_rows(model, tokenizer, rows[:1], "edge"))


def test_rows_come_back_in_order_and_share_their_contexts(tiny: Path, tokenizer, rows: list[dict]) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    scored = list(score_rows(model, tokenizer, rows[:4], "wu_forced"))
    assert [one.id for one in scored] == [row["id"] for row in rows[:4]]
    heads = np.mean([one.total for one in scored], 0)
    copying = {(layer, head) for layer, head in zip(*np.where(heads > 0.4), strict=True)}
    assert copying == set(INDUCTION)


def test_a_row_that_is_too_long_is_named(tokenizer, rows: list[dict]) -> None:
    model = make("llama", vocab_size=len(tokenizer), max_position_embeddings=64)
    with pytest.raises(UsageError, match=r"train/0+ has \d+ tokens under this tokenizer, and the model reads 64"):
        list(score_rows(model, tokenizer, rows))


@pytest.mark.parametrize(
    ("family", "norm"),
    [
        ("gemma2", "post_attention_layernorm"),
        ("gemma3_text", "post_attention_layernorm"),
        ("olmo2", "post_attention_layernorm"),
        ("glm4", "post_self_attn_layernorm"),
        ("qwen3_next", "self_attn"),
        ("llama", "self_attn"),
        ("adapted", "self_attn"),
    ],
)
def test_what_all_heads_write_is_what_their_layer_adds(family: str, norm: str, tokenizer, rows: list[dict]) -> None:
    """With a norm, a gate or an adapter behind the heads too: the sum over heads and positions, along the unembedding."""
    size = {"vocab_size": len(tokenizer)}
    model = adapted(1, **size) if family == "adapted" else make(family, **size, max_position_embeddings=1024)
    tokens = tokens_of(tokenizer, rows[0])
    everything = Tokens(**{**vars(tokens), "needles": (range(len(tokens.ids)),)})
    added: dict[int, Tensor] = {}

    def keep(layer: int):
        def hook(_, __, output):
            added[layer] = (output[0] if isinstance(output, tuple) else output)[0]

        return hook

    modules = {name: module for name, module in model.named_modules() if name.endswith(f".{norm}")}
    hooks = [
        module.register_forward_hook(keep(int(re.search(r"layers\.(\d+)", name)[1])))
        for name, module in modules.items()
    ]
    with torch.no_grad():
        model(torch.tensor([tokens.ids]))
    for hook in hooks:
        hook.remove()
    (found,) = logit(model, [everything])
    unembedding = model.get_output_embeddings().weight.detach()
    assert added
    for layer, stream in added.items():
        for step, at in enumerate(tokens.answer):
            expected = float(stream[at - 1] @ unembedding[tokens.ids[at]])
            assert found.steps[step, layer].sum() == pytest.approx(
                expected, abs=1e-3 * float(stream.abs().max()) + 1e-4
            )


def test_a_module_that_is_not_linear_behind_the_heads_is_noticed(tokenizer, rows: list[dict]) -> None:
    with pytest.raises(
        ModelError, match=r"of layer 0 of BitNetForCausalLM go through BitNetRMSNorm first; take another score"
    ):
        logit(make("bitnet", vocab_size=len(tokenizer)), [tokens_of(tokenizer, rows[0])])


def test_a_model_in_training_is_scored_without_dropout_and_left_in_training(tokenizer, rows: list[dict]) -> None:
    model = make("llama", vocab_size=len(tokenizer), max_position_embeddings=1024, attention_dropout=0.3).train()
    one, other = (next(iter(score_rows(model, tokenizer, rows[:1], "mass"))).total for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert model.training


def test_a_row_of_which_no_token_is_left_is_named(tokenizer, rows: list[dict]) -> None:
    row = {**rows[0], "completion": [{"role": "assistant", "content": "日本"}]}
    for broken in (row, {**rows[0], "needles": []}):
        with pytest.raises(DatasetError, match=r"train/0+: expected an answer and needles that have tokens"):
            tokens_of(tokenizer, broken)
