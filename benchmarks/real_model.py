"""Measures tuning and answering of SmolLM2 on a CPU: python benchmarks/real_model.py models/smollm2

Seconds for each question, on contexts of 1,024 random tokens with questions of 24 tokens and answers of 8, in one process with one thread:
a step of training with bfloat16 or float32, with activations computed again or kept, with one question on a context or five; and answers
of 8 tokens, one by one or five on a context that is read once. The fastest of some repeats. The ratios are to the first row of each table.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from training.generate import Batch, generate_batch
from training.loss import labelled_loss
from training.sequences import collate_branches, join
from training.turns import IGNORED

CONTEXT, QUESTION, ANSWER = 1024 - 32, 24, 8


def rows(questions: int) -> list[dict[str, list[int]]]:
    drawn = torch.Generator().manual_seed(0)

    def ids(size: int) -> list[int]:
        return torch.randint(100, 40_000, (size,), generator=drawn).tolist()

    context = ids(CONTEXT)
    asked = [(ids(QUESTION), ids(ANSWER)) for _ in range(questions)]
    return [
        {
            "input_ids": [*context, *question, *answer],
            "labels": [IGNORED] * (CONTEXT + QUESTION) + answer,
        }
        for question, answer in asked
    ]


def load(folder: str, dtype: torch.dtype, again: bool) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM"))
    if again:
        adapted.enable_input_require_grads()
        model.activation_checkpointing_enable()
    return adapted.train()


def fastest(call: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats + 1):  # the first loads what a first call loads
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def train(model: Any, questions: int, repeats: int) -> float:
    batch = collate_branches([join(rows(questions))])

    def step() -> None:
        labelled_loss(model, batch)[0].backward()
        model.zero_grad()

    return fastest(step, repeats) / questions


def answer(model: Any, questions: int, repeats: int) -> float:
    prompts = [row["input_ids"][:-ANSWER] for row in rows(questions)]
    batch = Batch([{"id": str(i)} for i in range(questions)], prompts, len(prompts[0]), CONTEXT if questions > 1 else 0)
    ids = torch.tensor(prompts)

    def write() -> None:
        with torch.no_grad():
            generate_batch(
                model.eval(), batch, input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
                max_new_tokens=ANSWER, min_new_tokens=ANSWER, pad_token_id=2,
            )  # fmt: skip

    return fastest(write, repeats) / questions


def table(what: str, found: dict[str, float]) -> None:
    first = next(iter(found.values()))
    print(f"\n| {what} | s / question | ratio |\n|---|---|---|")
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.2f} | {first / seconds:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the folder that training/smollm2.py wrote")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    training = {}
    for dtype in (torch.bfloat16, torch.float32):
        for again in (True, False):
            model = load(options.model, dtype, again)
            name = f"{str(dtype).removeprefix('torch.')}, activations {'computed again' if again else 'kept'}"
            training[name] = train(model, 1, options.repeats)
    training["float32, activations kept, five questions on a context"] = train(model, 5, options.repeats)
    table("training", training)
    names = {1: "one question on a context", 5: "five questions on a context"}
    table("answering", {name: answer(model, questions, options.repeats) for questions, name in names.items()})


if __name__ == "__main__":
    main()
