"""Measures the scores of heads against other ways to them: python benchmarks/heads.py [--tokens 4096 8192]

Every contestant in a process of its own on the CPU, on the same random model (4 layers, 8 heads, 256 wide) and the same questions of
16 answer tokens: CPU-seconds a question, and the memory that it takes above what was held before. The model answers them as they
should be, for what it says is what is asked.

    bare         a forward pass that looks at nothing
    forced       wu_forced: one pass, of whose attention only the answer's rows are kept
    eager        the same from transformers' output_attentions
    wu           the paper's score: the right answer as a draft
    loop         the same by a decode loop as in Wu et al.'s code: logits of the whole prompt, then a step a token with its attentions
    lean loop    the same without the logits that nobody needs
    wu x 8, 16   as many questions on one context
    edge         the causal score of all heads
    each         the same by a forward pass for every head
    nnsight, lens   the same as forced with nnsight and with TransformerLens, if they are installed (pip install -e '.[bench]')
"""

import argparse
import ctypes
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ANSWER, VOCABULARY, QUESTION = 16, 1024, 24
LAYERS, HEADS, WIDTH = 4, 8, 256
CONTESTANTS = (
    "bare",
    "forced",
    "eager",
    "wu",
    "loop",
    "lean loop",
    "wu x 8",
    "wu x 16",
    "edge",
    "each",
    "nnsight",
    "lens",
)
LARGEST = {"eager": 8192, "each": 4096, "edge": 4096, "nnsight": 4096, "lens": 4096}  # tokens


def model_of(attention: str = "sdpa", tokens: int = 0) -> Any:
    """The model, the same each time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=tokens + 256,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config).eval()


def questions_of(model: Any, tokens: int, count: int) -> list[Any]:
    """Questions on one context, whose answers are what the model says."""
    import torch

    from analysis.spans import Tokens

    context = torch.randint(VOCABULARY, (tokens - QUESTION,), generator=torch.Generator().manual_seed(1)).tolist()
    found = []
    for number in range(count):
        asked = torch.randint(VOCABULARY, (QUESTION,), generator=torch.Generator().manual_seed(2 + number)).tolist()
        prompt = torch.tensor([context + asked])
        with torch.no_grad():
            written = model.generate(
                prompt,
                max_new_tokens=ANSWER + 1,
                min_new_tokens=ANSWER + 1,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
        needle = range(tokens // 2, tokens // 2 + 32)
        answer = range(tokens, tokens + ANSWER)
        ids = tuple(written[0].tolist())
        question = range(len(context), tokens)
        found.append(Tokens(str(number), ids, tokens, answer, question, (needle,), gold=(needle,), documents=(needle,)))
    return found


def contestant(name: str, tokens: int) -> tuple[Callable[[], Any], int]:
    """What is measured, after all that it needs is there; and how many questions it answers."""
    import torch

    model = model_of("eager" if name == "eager" else "sdpa", tokens)
    count = int(name.rsplit(maxsplit=1)[-1]) if "x" in name.split() else 1
    questions = questions_of(model, tokens, count)
    first = questions[0]
    ids = torch.tensor([first.ids[:-2]])
    if name == "bare":
        return lambda: model(ids, use_cache=False, logits_to_keep=ANSWER), 1
    if name == "forced":
        from analysis.attention_scores import wu_forced

        return lambda: wu_forced(model, questions), 1
    if name.startswith("wu"):
        from analysis import wu_score

        wu_score._MOST = ANSWER  # so that all write as many tokens: a random model has no token that ends its answers
        return lambda: wu_score.wu(model, questions, [], lambda *_: 0), count
    if name == "edge":
        from analysis.causal_scores import causal

        return lambda: causal(model, first, "edge"), 1
    others = {
        "eager": _eager,
        "loop": _loop,
        "lean loop": _lean_loop,
        "each": _each,
        "nnsight": _nnsight,
        "lens": _lens,
    }
    return others[name](model, first, ids), 1


def _hits(attention: Any, question: Any) -> Any:
    """(head,): the answer's tokens at which a head attends most to the same token in the needle, of weights (head, row, key)."""
    import torch

    ids = torch.tensor(question.ids)
    top = attention.argmax(-1)
    (needle,) = question.needles
    wanted = ids[question.answer.start : question.answer.stop]
    return ((top >= needle.start) & (top < needle.stop) & (ids[top] == wanted)).float().mean(-1)


def _eager(model: Any, question: Any, ids: Any) -> Callable[[], Any]:
    def run() -> list[Any]:
        found = model(ids, use_cache=False, logits_to_keep=ANSWER, output_attentions=True).attentions
        return [_hits(attention[0, :, -ANSWER:], question) for attention in found]

    return run


def _lean_loop(model: Any, question: Any, ids: Any) -> Callable[[], Any]:
    return _loop(model, question, ids, {"logits_to_keep": 1})


def _loop(model: Any, question: Any, ids: Any, lean: dict[str, int] | None = None) -> Callable[[], Any]:
    import torch

    tokens = torch.tensor([question.ids])
    (needle,) = question.needles

    def run() -> Any:
        model.set_attn_implementation("sdpa")
        past = model(tokens[:, : question.prompt - 1], use_cache=True, **(lean or {})).past_key_values
        model.set_attn_implementation("eager")  # which alone gives attentions
        token, hits = tokens[:, question.prompt - 1 : question.prompt], torch.zeros(LAYERS, HEADS)
        for _ in range(ANSWER):
            step = model(token, past_key_values=past, use_cache=True, output_attentions=True)
            past, token = step.past_key_values, step.logits[:, -1:].argmax(-1)
            top = torch.stack([attention[0, :, -1].argmax(-1) for attention in step.attentions])
            inside = (top >= needle.start) & (top < needle.stop)
            hits += inside & (tokens[0][top.clamp(max=tokens.shape[1] - 1)] == token)
        return hits / ANSWER

    return run


def _each(model: Any, question: Any, ids: Any) -> Callable[[], Any]:
    import torch

    from analysis.interventions import Knockout, Positions, intervene

    columns, rows = torch.zeros(1, ids.shape[1], dtype=torch.bool), torch.zeros(1, ids.shape[1], dtype=torch.bool)
    (needle,) = question.needles
    columns[0, needle.start : needle.stop], rows[0, -ANSWER:] = True, True
    targets = torch.tensor(question.ids[question.answer.start : question.answer.stop])

    def likely() -> Any:
        steps = model(ids, use_cache=False, logits_to_keep=ANSWER).logits[0].log_softmax(-1)
        return steps.gather(1, targets[:, None])

    def run() -> list[Any]:
        lost = [likely()]
        for layer in range(LAYERS):
            for head in range(HEADS):
                with intervene(model, Knockout([(layer, head)], "edge", Positions(rows, False), hidden=columns)):
                    lost.append(likely())
        return lost

    return run


def _nnsight(model: Any, question: Any, ids: Any) -> Callable[[], Any]:
    from nnsight import NNsight

    model.set_attn_implementation("eager")
    traced = NNsight(model)

    def run() -> list[Any]:
        kept: list[Any] = []
        with traced.trace(ids, use_cache=False, logits_to_keep=ANSWER):
            for layer in range(LAYERS):
                kept.append(traced.model.layers[layer].self_attn.output[1][0, :, -ANSWER:].clone().save())  # noqa: PERF401
        return [_hits(attention, question) for attention in kept]

    return run


def _lens(model: Any, question: Any, ids: Any) -> Callable[[], Any]:
    import tempfile

    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

    from synthctx_data.tokens import BUNDLED

    model.set_attn_implementation("eager")
    with tempfile.TemporaryDirectory() as folder:
        model.config.architectures = ["LlamaForCausalLM"]
        model.save_pretrained(folder)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(str(BUNDLED))
        bridge = TransformerBridge.boot_transformers(folder, hf_model=model, tokenizer=tokenizer, device="cpu")

    def run() -> list[Any]:
        kept: list[Any] = []

        def keep(pattern: Any, hook: Any) -> None:
            kept.append(pattern[0, :, -ANSWER:].clone())

        hooks = [(f"blocks.{layer}.attn.hook_pattern", keep) for layer in range(LAYERS)]
        bridge.run_with_hooks(ids, fwd_hooks=hooks, return_type=None)
        if len(kept) != LAYERS:
            raise RuntimeError(f"expected {LAYERS} patterns, got {len(kept)}")
        return [_hits(attention, question) for attention in kept]

    return run


def measure(name: str, tokens: int, repeats: int) -> dict[str, float]:
    """CPU-seconds a question and peak bytes in this process, which must be fresh; the fastest of some repeats."""
    import torch

    torch.set_num_threads(1)
    with torch.no_grad():
        warm, _ = contestant(name, 256)
        warm()
        run, count = contestant(name, tokens)
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was used to get ready
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is held now
        run()
        peak = _memory("VmHWM") - before
        seconds = []
        for _ in range(repeats):
            started = time.process_time()
            run()
            seconds.append(time.process_time() - started)
    return {"seconds": min(seconds) / count, "bytes": float(peak)}


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=CONTESTANTS)
    options = parser.parse_args()
    os.environ.update(MALLOC_ARENA_MAX="1", MALLOC_MMAP_THRESHOLD_="65536")  # what is freed is given back at once
    installed = {"nnsight": find_spec("nnsight"), "lens": find_spec("transformer_lens")}
    results: dict[str, dict[str, dict[str, float]]] = {}
    for tokens in options.tokens:
        results[str(tokens)] = {}
        print(f"\n{tokens} tokens | CPU s / question | peak MB\n---|---|---")
        for name in options.only:
            if tokens > LARGEST.get(name, 2**30) or installed.get(name, True) is None:
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found = pool.apply(measure, (name, tokens, options.repeats))
            results[str(tokens)][name] = found
            print(f"{name} | {found['seconds']:.3f} | {found['bytes'] / 2**20:.1f}", flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
