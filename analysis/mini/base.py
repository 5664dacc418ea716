"""A base model from scratch: it learns to copy and to answer from a few documents, in contexts as short as its own."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from analysis.mini.lessons import ANSWER, ELSEWHERE, Lesson, batch, conversation, copying
from analysis.mini.plan import Base, Phase
from analysis.mini.tongue import make_tokenizer
from synthctx_data.seeding import Stream, rng

_SEEN = 0.1  # of what cannot be known, this share counts, so much more
_LOOKS = 6.0  # how sharply the first heads look back
_STATE = "training.pt"
_SAVE = 250  # steps


def make_base(folder: Path, plan: Base, seed: int, progress: Callable[[float], None]) -> Path:
    """The folder of a trained base model and its tokenizer; `progress` hears the share of its steps that are done.

    An interrupted training goes on from its last saved state, and ends with the same weights.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    training = _Training(folder, plan, seed, tokenizer)
    while training.step < plan.steps:
        training.advance()
        progress(training.step / plan.steps)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    tokenizer.save_pretrained(aside)
    training.model.save_pretrained(aside)
    aside.rename(folder)
    training.file.unlink(missing_ok=True)
    return folder


class _Training:
    """The model, and all that decides how it goes on."""

    def __init__(self, folder: Path, plan: Base, seed: int, tokenizer: PreTrainedTokenizerFast) -> None:
        self.file = folder.with_name(f"{folder.name}.{_STATE}")
        self.plan, self.seed, self.tokenizer = plan, seed, tokenizer
        torch.manual_seed(seed)
        self.model = make_model(plan, tokenizer)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.drops = Drops(self.model)
        self.step = 0
        if self.file.exists():
            state = torch.load(self.file, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]

    def advance(self) -> None:
        """One step, every choice of which comes from a stream of its own."""
        stream = rng("mini", "base", self.seed, self.step)
        torch.manual_seed(stream.below(2**32))
        phase = self.plan.phase(self.step)
        ids, weights = batch([self._lesson(stream, phase) for _ in range(phase.batch)])
        self.drops.draw(phase.batch, phase.drop)
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * self._rate()
        _loss(self.model, ids, weights).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        if self.step % _SAVE == 0:
            self._save()

    def _lesson(self, stream: Stream, phase: Phase) -> Lesson:
        if stream.uniform() < phase.copying:
            return copying(stream, len(self.tokenizer), phase.tokens)
        return conversation(stream, self.tokenizer, phase.tokens, phase.kind(stream.uniform()))

    def _rate(self) -> float:
        """A cosine to a tenth, after 100 steps of warm-up."""
        return min(1, (self.step + 1) / 100) * (0.55 + 0.45 * math.cos(math.pi * self.step / self.plan.steps))

    def _save(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}
        aside = self.file.with_suffix(".aside")
        torch.save(state, aside)
        aside.replace(self.file)


class Drops:
    """Leaves out the attention of one layer but the first in some of the lessons, so that no other becomes the only one."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        self.kept: Tensor | None = None
        for i, layer in enumerate(model.model.layers):
            layer.self_attn.register_forward_hook(self._hook(i))
        self.layers = len(model.model.layers)

    def draw(self, lessons: int, share: float) -> None:
        """Which layer each of a batch's lessons does without."""
        dropped = torch.randint(1, self.layers, (lessons,)).masked_fill(torch.rand(lessons) >= share, -1)
        self.kept = (torch.arange(self.layers)[:, None] != dropped).float()

    def _hook(self, layer: int) -> Callable[[Any, Any, Any], Any]:
        def keep(module: Any, arguments: Any, output: Any) -> Any:
            if self.kept is None:
                return output
            return (output[0] * self.kept[layer][:, None, None], *output[1:])

        return keep


def make_model(plan: Base, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The model before training: random, but that some heads of its first layer look back one token, or two."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=plan.width,
        intermediate_size=plan.feed_forward,
        num_hidden_layers=plan.layers,
        num_attention_heads=plan.heads,
        num_key_value_heads=plan.heads,
        head_dim=plan.head_dimension,
        attention_bias=True,
        tie_word_embeddings=True,
        max_position_embeddings=plan.tokens,
        rope_parameters={"rope_type": "default", "rope_theta": plan.theta},
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for head, tokens in enumerate(plan.look_back):
            _look_back(model, head, tokens)
    return model


def _look_back(model: LlamaForCausalLM, head: int, tokens: int) -> None:
    """Sets biases of a head of the first layer: turned by its positions, they meet where a key stands `tokens` before a query."""
    attention = model.model.layers[0].self_attn
    half, own = attention.head_dim // 2, slice(head * attention.head_dim, (head + 1) * attention.head_dim)
    angles = tokens * model.model.rotary_emb.inv_freq
    attention.k_proj.bias[own] = _LOOKS * torch.cat([torch.ones(half), torch.zeros(half)])
    attention.q_proj.bias[own] = _LOOKS * torch.cat([angles.cos(), -angles.sin()])
    attention.v_proj.weight[own].normal_(0, 0.1)
    attention.o_proj.weight[:, own].normal_(0, 0.1)


def _loss(model: LlamaForCausalLM, ids: Tensor, weights: Tensor) -> Tensor:
    """The weighted loss of answers, and of a random share of all else: logits of no more positions are computed."""
    targets, weight = ids[:, 1:], weights[:, 1:]
    other = (weight == ELSEWHERE) & (torch.rand(weight.shape) < _SEEN)
    counted = (weight >= ANSWER) | other
    logits = model.lm_head(model.model(ids).last_hidden_state[:, :-1][counted])
    weight = torch.where(other, ELSEWHERE / _SEEN, weight)[counted]
    return (cross_entropy(logits, targets[counted], reduction="none") * weight).sum() / weight.sum()
