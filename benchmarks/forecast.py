"""Measures how near `finetune --dry-run` comes, on a GPU: python benchmarks/forecast.py llama3 rows_8192/mdqa_synth:symbolic_haystack ...

The first argument is a folder with a model's configuration and tokenizer; its weights are drawn here, for memory and time do not depend on
them. Each data set is trained on for some steps of one row in a process of its own. Forecast against measured: seconds of a step (the
fastest), and the peak memory in GiB (of tensors, and what PyTorch took from the GPU for them).
"""

import argparse
import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from training.dry_run import forecast
from training.finetune import finetune
from training.loss import AnswerTrainer
from training.memory import GIB
from training.options import Recipe


def draw_weights(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder)
    config = AutoConfig.from_pretrained(folder)
    with torch.device("cuda"):
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


class Clock(AnswerTrainer):
    taken: list[float] = []

    def training_step(self, *arguments: Any, **named: Any) -> torch.Tensor:
        torch.cuda.synchronize()
        started = time.perf_counter()
        loss = super().training_step(*arguments, **named)
        torch.cuda.synchronize()
        self.taken.append(time.perf_counter() - started)
        return loss


def measure(recipe: Recipe) -> dict[str, float]:
    import training.loss

    training.loss.AnswerTrainer = Clock
    finetune(recipe)
    return {
        "seconds": min(Clock.taken),
        "peak": torch.cuda.max_memory_allocated() / GIB,
        "taken": torch.cuda.max_memory_reserved() / GIB,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--max-tokens", type=int, default=32768)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    fresh = multiprocessing.get_context("spawn")
    print(f"{torch.cuda.get_device_name()}\n")
    print("| data | tokens | activations | s / step, forecast | measured | GiB, forecast | tensors | taken |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        with fresh.Pool(1) as pool:
            pool.apply(draw_weights, (options.model, model))
        for data in options.data:
            for again in (True, False):
                recipe = Recipe(
                    model=str(model), data=[data], output=f"{folder}/{data.replace('/', '_')}_{again}", accumulation=1,
                    max_tokens=options.max_tokens, max_steps=options.steps, gradient_checkpointing=again,
                )  # fmt: skip
                said = forecast(recipe)
                if not said.fits:
                    continue
                with fresh.Pool(1) as pool:
                    found = pool.apply(measure, (recipe,))
                step = 3600 * said.hours / said.steps
                how = "computed again" if again else "kept"
                print(
                    f"| {data} | {said.tokens[2]} | {how} | {step:.2f} | {found['seconds']:.2f} "
                    f"| {said.memory.total / GIB:.1f} | {found['peak']:.1f} | {found['taken']:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
