"""What is done to heads, against transformers' own eager attention and against algebra, on tiny random models of many families."""

import copy
from collections.abc import Sequence

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModelForCausalLM, PreTrainedModel

from analysis.branches import Branches, Probe
from analysis.interventions import (
    Intervention,
    Knockout,
    MeanOutputs,
    Outputs,
    Patch,
    Positions,
    TwinPatch,
    everywhere,
    intervene,
    patched,
)
from synthctx_data.errors import ModelError, UsageError
from tests.families import FAMILIES, OFTEN, STATEFUL, make, rarely

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
IDS = torch.randint(3, 97, (60,), generator=torch.Generator().manual_seed(1)).tolist()
OTHER = IDS[50:53][::-1]
EVERY = [(layer, head) for layer in range(2) for head in range(4)]


class Weights(Probe):
    """Keeps all weights: (1, head, row, key) by layer."""

    def __init__(self) -> None:
        self.parts: dict[int, list[Tensor]] = {}

    def read(self, call, rows, weights) -> None:
        self.parts.setdefault(call.layer, []).append(weights)

    def of(self, layer: int) -> Tensor:
        return torch.cat(self.parts[layer], 2)


def logits(model: PreTrainedModel, ids: Sequence[int] | Tensor, **options) -> Tensor:
    ids = ids if isinstance(ids, Tensor) else torch.tensor([ids])
    with torch.no_grad():
        return model(ids, use_cache=False, **options).logits


@pytest.mark.parametrize("keep", [False, True], ids=["at once", "kept"])
@pytest.mark.parametrize("family", [*OFTEN, *rarely(*(one for one in FAMILIES if one not in OFTEN))])
def test_what_is_read_is_what_eager_attention_computes(family: str, keep: bool) -> None:
    """Weights and logits of two branches of one context, each as if it had been read alone; and nothing changes by looking."""
    model, eager = make(family), make(family, "eager")
    reading, weights = Branches(model, IDS[:50], keep), Weights()
    if keep:  # a first pass that is forgotten, so that the context is there when the second one goes on
        reading.go_on([OTHER], Probe(), torch.arange(1))
        reading.forget()
    found = reading.go_on([IDS[50:], OTHER], weights, torch.arange(13))
    with torch.no_grad():
        first = eager(torch.tensor([IDS]), output_attentions=True)
        second = eager(torch.tensor([IDS[:50] + OTHER]), output_attentions=True)
    torch.testing.assert_close(found[:10], first.logits[0, 50:], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[10:], second.logits[0, 50:], atol=1e-4, rtol=0)
    for layer, attention in enumerate(first.attentions):
        mine = weights.of(layer)
        torch.testing.assert_close(mine[:, :, :10, :60], attention[:, :, 50:, :60], atol=1e-5, rtol=0)
        torch.testing.assert_close(mine[:, :, 10:, :50], second.attentions[layer][:, :, 50:, :50], atol=1e-5, rtol=0)
        torch.testing.assert_close(mine[:, :, 10:, 60:], second.attentions[layer][:, :, 50:, 50:], atol=1e-5, rtol=0)
        top = attention[:, :, 50:].topk(2, -1)
        clear = top.values[..., 0] - top.values[..., 1] > 1e-5
        assert (mine[:, :, :10].argmax(-1) == top.indices[..., 0])[clear].all()
    with intervene(model, Intervention()):
        torch.testing.assert_close(logits(model, IDS), first.logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", STATEFUL)
def test_layers_with_a_state_are_read_one_branch_at_a_time(family: str) -> None:
    model = make(family)
    reading, weights = Branches(model, IDS[:50], keep=True), Weights()
    found = torch.cat([reading.go_on([part], weights, torch.arange(len(part))) for part in (IDS[50:56], IDS[56:])])
    torch.testing.assert_close(found, logits(make(family, "eager"), IDS)[0, 50:], atol=1e-4, rtol=0)
    assert set(weights.parts) == {1}
    with pytest.raises(ModelError, match="one branch at a time"):
        Branches(model, IDS[:50], keep=True).go_on([IDS[50:], OTHER], Probe(), torch.arange(1))
    with pytest.raises(ModelError, match="tokens cannot be taken back"):
        reading.turn_down(torch.arange(1))


@pytest.mark.parametrize(
    ("family", "sizes"), [("falcon", {"num_hidden_layers": 2}), ("bloom", {"n_layer": 2, "n_head": 4})]
)
def test_a_family_that_cannot_be_reached_says_so(family: str, sizes: dict) -> None:
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(family, vocab_size=97, hidden_size=32, num_attention_heads=4, **sizes)
    )
    with pytest.raises(ModelError, match=r"AttentionInterface, and that of \w+ does not"), intervene(model):
        logits(model, IDS)


def test_nothing_stays_behind() -> None:
    model = make("llama")
    before, known = logits(model, IDS), (AttentionInterface().valid_keys(), AttentionMaskInterface().valid_keys())
    with pytest.raises(RuntimeError, match="on purpose"), intervene(model, Knockout(EVERY)):
        assert not torch.equal(logits(model, IDS), before)
        raise RuntimeError("on purpose")
    assert model.config._attn_implementation == "sdpa"
    assert (AttentionInterface().valid_keys(), AttentionMaskInterface().valid_keys()) == known
    assert torch.equal(logits(model, IDS), before)


def padded(left: int, right: int) -> tuple[Tensor, Tensor]:
    ids = torch.tensor([IDS[:20], [0] * left + IDS[20 : 40 - left - right] + [0] * right])
    return ids, (ids != 0).long()


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "gemma2", "gemma3_text", "gpt_oss", "qwen2"])
@pytest.mark.parametrize(("left", "right"), [(7, 0), (0, 7)], ids=["left", "right"])
def test_padding_changes_nothing(family: str, left: int, right: int) -> None:
    model = make(family)
    ids, mask = padded(left, right)
    real = ids[1, left : 20 - right]
    hidden = torch.zeros(2, 20, dtype=torch.bool)
    hidden[:, left + 2 : left + 6] = True
    alone = hidden[1:, left : 20 - right]
    for mode in ("zero", "uniform", "edge"):
        columns, own = (hidden, alone) if mode == "edge" else (None, None)
        with intervene(model, Knockout([(0, 1), (1, 3)], mode, hidden=columns)):
            given = {} if family == "gpt_oss" else {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
            together = logits(model, ids, attention_mask=mask, **given)[1, left : 20 - right]
        with intervene(model, Knockout([(0, 1), (1, 3)], mode, hidden=own)):
            torch.testing.assert_close(together[6:], logits(model, real[None])[0][6:], atol=1e-4, rtol=0)


def test_all_heads_knocked_out_put_out_nothing() -> None:
    model, outputs = make("qwen3"), Outputs(EVERY)
    with intervene(model, outputs, Knockout(EVERY)):
        logits(model, IDS)
    assert all((seen == 0).all() for seen in outputs.seen.values())
    assert set(outputs.seen) == {0, 1}


def test_a_uniform_head_averages_what_it_may_see() -> None:
    model, outputs, values = make("mistral"), Outputs([(0, 2)]), {}

    class Values(Intervention):
        def attend(self, call, proceed):
            values[call.layer] = call.value
            return proceed(call)

    with intervene(model, outputs, Values(), Knockout([(0, 2)], "uniform")):
        logits(model, IDS)
    value = values[0][0, 1]  # heads 2 and 3 share KV head 1
    for row in (0, 5, 40):
        expected = value[max(row - 15, 0) : row + 1].mean(0)  # a window of 16
        torch.testing.assert_close(outputs.seen[0][0, row, 0], expected)


def test_a_mean_head_puts_out_its_mean() -> None:
    model, means, outputs = make("llama"), MeanOutputs(), Outputs([(1, 2)])
    with intervene(model, outputs, means):
        logits(model, IDS)
    expected = outputs.seen[1][0, :, 0].mean(0)
    torch.testing.assert_close(means.means()[1, 2].float(), expected)
    with intervene(model, outputs, Knockout([(1, 2)], "mean", means=means.means())):
        logits(model, IDS)
    torch.testing.assert_close(outputs.seen[1][0, :, 0], expected.expand(60, -1))


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "qwen3", "granite"])
def test_blocked_edges_are_those_of_a_mask(family: str) -> None:
    """All heads of all layers, not seeing some columns from some rows: as transformers does with that mask."""
    model, rows, columns = make(family), range(40, 60), range(10, 20)
    mask = torch.ones(60, 60, dtype=torch.bool).tril()
    mask[rows.start : rows.stop, columns.start : columns.stop] = False
    hidden, prompt = torch.zeros(1, 60, dtype=torch.bool), torch.zeros(1, 60, dtype=torch.bool)
    hidden[0, columns.start : columns.stop], prompt[0, rows.start : rows.stop] = True, True
    with intervene(model, Knockout(EVERY, "edge", Positions(prompt, False), hidden=hidden)):
        found = logits(model, IDS)
    expected = logits(model, IDS, attention_mask=mask[None, None])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert not torch.allclose(found, logits(model, IDS), atol=1e-2)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", *rarely("mistral", "gemma2", "olmo3")])
@pytest.mark.parametrize("mode", ["zero", "uniform", "edge"])
@pytest.mark.parametrize("phase", ["prefill", "answer", "both"])
def test_generation_under_knockout_is_greedy_without_a_cache(family: str, mode: str, phase: str) -> None:
    model = make(family)
    prompt = torch.zeros(1, 40, dtype=torch.bool)
    prompt[0, :39], prompt[0, 39] = phase != "answer", phase != "prefill"
    hidden = torch.zeros(1, 40, dtype=torch.bool)
    hidden[0, 20:36] = True
    knockout = Knockout(
        [(0, 0), (1, 1), (1, 2)],
        mode,
        Positions(prompt, phase != "prefill"),
        hidden=hidden if mode == "edge" else None,
    )
    ids = torch.tensor([IDS[:40]])
    with torch.no_grad(), intervene(model, knockout):
        generated = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)
        for _ in range(8):
            ids = torch.cat([ids, logits(model, ids)[:, -1:].argmax(-1)], 1)
    assert generated.tolist() == ids.tolist()


def test_patching_from_the_same_model_changes_nothing() -> None:
    model = make("llama")
    with patched(model, copy.deepcopy(model), EVERY):
        torch.testing.assert_close(logits(model, IDS), logits(copy.deepcopy(model), IDS), atol=1e-6, rtol=0)


def other_llama() -> PreTrainedModel:
    model = make("llama")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3)
    return model


def test_a_patched_layer_puts_out_what_the_donors_does() -> None:
    recipient, donor = make("llama"), other_llama()
    theirs, mine = Outputs(EVERY), Outputs(EVERY)
    with intervene(donor, theirs):
        logits(donor, IDS)
    first_layer = [(0, head) for head in range(4)]
    before = logits(recipient, IDS)
    with patched(recipient, donor, first_layer), intervene(recipient, mine):  # the later one is the outer one
        assert not torch.allclose(logits(recipient, IDS), before)
    torch.testing.assert_close(mine.seen[0], theirs.seen[0], atol=1e-6, rtol=0)
    assert not torch.allclose(mine.seen[1], theirs.seen[1])


def test_patched_generation_is_patched_greedy_without_a_cache() -> None:
    recipient, donor, ids = make("gemma3_text"), make("gemma3_text"), torch.tensor([IDS[:40]])
    with torch.no_grad():
        for parameter in donor.parameters():
            parameter.mul_(1.3)
    with torch.no_grad(), patched(recipient, donor, [(0, 1), (1, 0), (2, 3)]):
        generated = recipient.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)
        for _ in range(8):
            ids = torch.cat([ids, logits(recipient, ids)[:, -1:].argmax(-1)], 1)
    assert generated.tolist() == ids.tolist()


def adapted(seed: int, attention: str | None = None, **changes) -> PreTrainedModel:
    model = get_peft_model(
        make("llama", attention, **changes), LoraConfig(target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], r=4)
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def test_twins_are_patched_as_two_models_are(tmp_path) -> None:
    """Two adapters on one model in one pass, and the same two as models of their own."""
    recipient, donor, heads = adapted(1), adapted(2), [(0, 3), (1, 0), (1, 2)]
    donor.save_pretrained(tmp_path)
    some = torch.zeros(1, 60, dtype=torch.bool)
    some[0, 30:45] = True
    for positions in (everywhere(), Positions(some, False)):
        with patched(recipient, donor, heads, positions):
            expected = logits(recipient, IDS)
        both = adapted(1)
        both.load_adapter(tmp_path, adapter_name="donor")
        with intervene(both, TwinPatch(heads, positions)):
            found = logits(both, torch.tensor([IDS, IDS]), adapter_names=["donor", "default"])
        torch.testing.assert_close(found[1:], expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(found[:1], logits(donor, IDS), atol=1e-4, rtol=0)


def test_an_adapter_is_seen_merged_or_not() -> None:
    model, merged = adapted(1), adapted(1).merge_and_unload()
    for one in (Outputs(EVERY), Outputs(EVERY)):
        with intervene(model, one):
            logits(model, IDS)
    with intervene(merged, other := Outputs(EVERY)):
        logits(merged, IDS)
    for layer in (0, 1):
        torch.testing.assert_close(one.seen[layer], other.seen[layer], atol=1e-3, rtol=0)
    bare = make("llama")
    with intervene(bare, without := Outputs(EVERY)):
        logits(bare, IDS)
    assert not torch.allclose(without.seen[0], one.seen[0], atol=1e-2)


def test_cached_outputs_can_be_patched_in() -> None:
    recipient, donor, outputs = make("llama"), other_llama(), Outputs([(0, 1), (0, 2)])
    with intervene(donor, outputs):
        logits(donor, IDS)
    with intervene(recipient, Patch(outputs)):
        cached = logits(recipient, IDS)
    with patched(recipient, donor, [(0, 1), (0, 2)]):
        torch.testing.assert_close(cached, logits(recipient, IDS))


@pytest.mark.parametrize("family", ["mistral", "gemma2", "llama"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_row_that_sees_nothing_sees_not_the_future_either(family: str, attention: str) -> None:
    """All that a window shows is hidden: what comes later must not be seen instead."""
    model = make(family, attention if family != "gemma2" else None)
    hidden = torch.zeros(1, 40, dtype=torch.bool)
    hidden[0, 8 if family != "llama" else 0 : 34] = True
    found = []
    for last in (5, 6):
        with intervene(model, Knockout(EVERY, "edge", hidden=hidden)):
            found.append(logits(model, [*IDS[:36], last, last, last, last])[0, :36])
    assert torch.isfinite(found[0]).all()
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.filterwarnings("ignore")
def test_a_static_cache_hides_the_same_columns() -> None:
    model, ids = make("llama"), torch.tensor([IDS[:40]])
    hidden = torch.zeros(1, 40, dtype=torch.bool)
    hidden[0, 20:36] = True
    answers = []
    for cache in (None, "static"):
        with torch.no_grad(), intervene(model, Knockout(EVERY, "edge", hidden=hidden)):
            answers.append(
                model.generate(
                    ids,
                    max_new_tokens=8,
                    do_sample=False,
                    eos_token_id=None,
                    pad_token_id=0,
                    cache_implementation=cache,
                    disable_compile=True,
                ).tolist()
            )
    assert answers[0] == answers[1]


def test_what_cannot_be_patched_says_so() -> None:
    recipient, donor = make("llama"), other_llama()
    with pytest.raises(UsageError, match="expected two models, got one twice"), patched(recipient, recipient, EVERY):
        pass
    with torch.no_grad():
        cache = recipient(torch.tensor([IDS[:20]]), use_cache=True).past_key_values
        with (
            pytest.raises(UsageError, match="a cache that was empty when patching began"),
            patched(recipient, donor, EVERY),
        ):
            recipient(torch.tensor([IDS[20:]]), past_key_values=cache)


@pytest.mark.parametrize("heads", [[(2, 0)], [(-1, 0)], [(0, 4)], [(0, -1)]])
def test_heads_that_a_model_has_not_are_refused(heads: list) -> None:
    with (
        pytest.raises(UsageError, match=r"expected heads .* of 2 layers of 4 heads"),
        intervene(make("llama"), Knockout(heads)),
    ):
        pass


def test_gradients_are_those_of_the_model_without_the_heads() -> None:
    """A knocked-out head gets no gradient, the others do."""
    model = make("llama")
    with intervene(model, Knockout([(0, 0), (0, 1)])):  # which share a KV head
        model(torch.tensor([IDS])).logits.square().mean().backward()
    gradient = model.model.layers[0].self_attn.v_proj.weight.grad.reshape(2, 8, -1)
    assert (gradient[0] == 0).all()
    assert (gradient[1] != 0).any()


def test_a_knockout_wants_what_its_mode_needs() -> None:
    for options in ({"mode": "mean"}, {"mode": "edge"}, {"mode": "zero", "means": torch.zeros(1)}):
        with pytest.raises(UsageError, match="expected `means` with mode mean, `hidden` with mode edge"):
            Knockout(EVERY, **options)


def test_a_misspelt_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="mode: expected one of zero, mean, uniform, edge; got 'unifrom'"):
        Knockout(EVERY, "unifrom")  # type: ignore[arg-type]


FAULTS = {
    "computes something else while it is only looked at": lambda module: module.config._attn_implementation != "sdpa",
    "answers the same when all of its heads put out nothing": None,
    "put out is not their attention weights times their values": "scaled",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_family_whose_attention_is_something_else_fails_when_it_is_opened(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama import modeling_llama

    model, stock = make("llama"), modeling_llama.LlamaAttention.forward

    def forward(self, hidden_states, *arguments, **options):
        output, weights = stock(self, hidden_states, *arguments, **options)
        if FAULTS[fault] is None:  # the heads reach nothing
            return hidden_states * 0.5, weights
        return (output * 1.5 if FAULTS[fault](self) else output), weights

    if FAULTS[fault] == "scaled":  # by something that the interface does not speak of
        plain = modeling_llama.ALL_ATTENTION_FUNCTIONS["sdpa"]
        monkeypatch.setitem(
            type(modeling_llama.ALL_ATTENTION_FUNCTIONS)._global_mapping,
            "sdpa",
            lambda module, query, key, value, mask, **o: (plain(module, query, key, value, mask, **o)[0] ** 2, None),
        )
    else:
        monkeypatch.setattr(modeling_llama.LlamaAttention, "forward", forward)
    with pytest.raises(ModelError, match=fault), intervene(model):
        pass
    monkeypatch.undo()
    with intervene(model):  # a failed check is no check
        model(torch.tensor([IDS]))
