"""The training of a base model from scratch. It learns to copy, and to answer from a few documents in short contexts."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.miniature.lessons import ANSWER, ELSEWHERE, Lesson, batch, conversation, copying
from experiments.miniature.plan import Base, Phase
from experiments.miniature.tokenizer import make_tokenizer
from synthctx_data.errors import UsageError
from synthctx_data.files import whole, whole_folder
from synthctx_data.seeding import Stream, rng

_SEEN = 0.1  # of the tokens that cannot be predicted, only this random share enters the loss, each with a correspondingly larger weight
_LOOKS = 6.0  # how sharply the first heads of layer 0 look at one position
RECIPE, _WEIGHTS, _STATE = "recipe.json", "model.safetensors", "training.pt"
_SAVE = 250  # steps between two saved states
_RECENT = 100  # steps whose mean loss can end a phase


def make_base(folder: Path, plan: Base, seed: int, progress: Callable[[float], None]) -> Path:
    """The folder of a trained base model and its tokenizer. `progress` is called with the share of steps that are done.

    An interrupted training resumes from its last saved state, and ends with the same weights.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    training = _Training(folder, plan, seed, tokenizer)
    while training.phase < len(plan.phases):
        training.advance()
        progress((sum(plan.steps[: training.phase]) + len(training.losses)) / sum(plan.steps))
    with whole_folder(folder) as aside:
        tokenizer.save_pretrained(aside)
        training.model.save_pretrained(aside)
        made = {"torch": torch.__version__, "transformers": transformers.__version__, "sha256": _hash(aside)}
        said = {"made by": "experiments/miniature/base.py", "seed": seed, **made, "base": plan.model_dump(mode="json")}
        (aside / RECIPE).write_text(json.dumps(said, indent=2) + "\n")
    training.file.unlink(missing_ok=True)
    return folder


def take_base(checkpoint: Path, folder: Path, plan: Base) -> Path:
    """The folder of a base model and its tokenizer, copied from a checkpoint that was trained as the plan says.

    Raises: UsageError if the checkpoint was trained otherwise, or if its weights are not those that were trained.
    """
    if folder.exists():
        return folder
    recipe = json.loads((checkpoint / RECIPE).read_text())
    if Base.model_validate(recipe["base"]) != plan:
        raise UsageError(f"{checkpoint}: expected a base trained as the plan says, got another recipe; train it anew")
    if recipe["sha256"] != _hash(checkpoint):
        raise UsageError(f"{checkpoint / _WEIGHTS}: expected the SHA-256 {recipe['sha256']}, got {_hash(checkpoint)}")
    with whole_folder(folder) as aside:
        shutil.copytree(checkpoint, aside)
    return folder


def _hash(folder: Path) -> str:
    return hashlib.sha256((folder / _WEIGHTS).read_bytes()).hexdigest()


class _Training:
    """A training of a base: the model, and the state that decides its next steps."""

    def __init__(self, folder: Path, plan: Base, seed: int, tokenizer: PreTrainedTokenizerFast) -> None:
        self.file = folder.with_name(f"{folder.name}.{_STATE}")
        self.plan, self.seed, self.tokenizer = plan, seed, tokenizer
        torch.manual_seed(seed)
        self.model = make_model(plan, tokenizer)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.drops = Drops(self.model)
        self.step = self.phase = 0
        self.losses: list[float] = []  # of the present phase
        if self.file.exists():
            state = torch.load(self.file, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.phase, self.losses = state["step"], state["phase"], state["losses"]

    def advance(self) -> None:
        """Takes one step. Each step has a random stream of its own, which decides every choice."""
        stream = rng("mini", "base", self.seed, self.step)
        torch.manual_seed(stream.below(2**32))
        phase = self.plan.phases[self.phase]
        ids, weights = batch([self._lesson(stream, phase) for _ in range(phase.batch)])
        self.drops.draw(phase)
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * self._rate()
        loss = _loss(self.model, ids, weights)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.losses.append(loss.item())
        if self._is_over(phase):
            self.phase, self.losses = self.phase + 1, []
        if self.step % _SAVE == 0:
            self._save()

    def _is_over(self, phase: Phase) -> bool:
        """True if the phase has had all of its steps, or if its loss is low enough."""
        steps = len(self.losses)
        return steps == phase.steps or (steps > _RECENT and fmean(self.losses[-_RECENT:]) < phase.until)

    def _lesson(self, stream: Stream, phase: Phase) -> Lesson:
        if stream.uniform() < phase.copying:
            return copying(stream, len(self.tokenizer), phase.tokens)
        return conversation(stream, self.tokenizer, phase.tokens, phase.kind(stream.uniform()))

    def _rate(self) -> float:
        """The factor on the learning rate: 100 steps of warm-up, and a cosine down to a tenth in the last phase."""
        if self.phase < len(self.plan.phases) - 1:
            return min(1, (self.step + 1) / 100)
        return 0.55 + 0.45 * math.cos(math.pi * len(self.losses) / self.plan.steps[-1])

    def _save(self) -> None:
        at = {"step": self.step, "phase": self.phase, "losses": self.losses}
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), **at}
        with whole(self.file) as aside:
            torch.save(state, aside)


class Drops:
    """A mask over heads that leaves a layer's later heads, or all of them, out of some lessons of a batch.

    So a layer's work settles in a part of its heads, and layers learn to replace one another.
    """

    def __init__(self, model: LlamaForCausalLM) -> None:
        self.kept: Tensor | None = None
        self.shape = model.config.num_hidden_layers, model.config.num_attention_heads
        for i, layer in enumerate(model.model.layers):
            layer.self_attn.o_proj.register_forward_pre_hook(self._hook(i))

    def draw(self, phase: Phase) -> None:
        """Draws the heads that take part in each lesson of a batch, in each layer, as the phase says."""
        layers, heads = self.shape
        number = torch.full((layers, phase.batch), phase.heads)
        fewer = torch.rand(number.shape) < phase.fewer
        number[fewer] = torch.randint(1, phase.heads, number.shape)[fewer]
        at, end = torch.rand(phase.batch), 0.0
        for layer, share in phase.without.items():
            number[layer, (end <= at) & (at < end + share)] = 0
            end += share
        number[0] = heads
        self.kept = (torch.arange(heads) < number[..., None]).float()

    def _hook(self, layer: int) -> Callable[[Any, Any], Any]:
        def keep(module: Any, arguments: Any) -> Any:
            if self.kept is None:
                return None
            (outputs,) = arguments
            by_head = outputs.unflatten(-1, (self.shape[1], -1)) * self.kept[layer][:, None, :, None]
            return (by_head.flatten(-2),)

        return keep


def make_model(plan: Base, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The model before training. It is random, except that the first heads of layer 0 look back as the plan says."""
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
    """Sets the biases of a head of layer 0. Rotated by RoPE, query and key match if the key is `tokens` tokens before the query."""
    attention = model.model.layers[0].self_attn
    half, own = attention.head_dim // 2, slice(head * attention.head_dim, (head + 1) * attention.head_dim)
    angles = tokens * model.model.rotary_emb.inv_freq
    attention.k_proj.bias[own] = _LOOKS * torch.cat([torch.ones(half), torch.zeros(half)])
    attention.q_proj.bias[own] = _LOOKS * torch.cat([angles.cos(), -angles.sin()])
    attention.v_proj.weight[own].normal_(0, 0.1)
    attention.o_proj.weight[:, own].normal_(0, 0.1)


def _loss(model: LlamaForCausalLM, ids: Tensor, weights: Tensor) -> Tensor:
    """The weighted loss of answers and of a random share of all other tokens. Only their logits are computed."""
    targets, weight = ids[:, 1:], weights[:, 1:]
    other = (weight == ELSEWHERE) & (torch.rand(weight.shape) < _SEEN)
    counted = (weight >= ANSWER) | other
    logits = model.lm_head(model.model(ids).last_hidden_state[:, :-1][counted])
    weight = torch.where(other, ELSEWHERE / _SEEN, weight)[counted]
    return (cross_entropy(logits, targets[counted], reduction="none") * weight).sum() / weight.sum()
