"""Measures the loss at labelled positions against the stock trainer: python benchmarks/loss.py [--tokens 8192]

One step of TRL's SFTTrainer and one of ours, each in a process of its own on the CPU, for the same model of two layers with a
vocabulary of 128,256 words and the same sequence, of which 16 tokens are labelled: seconds, and the memory that the step
takes above what was held before it.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

VOCABULARY, LABELLED = 128_256, 16


def measure(ours: bool, tokens: int, hidden: int) -> dict[str, Any]:
    """Seconds and peak bytes of a step in this process, which must be fresh, and the loss and gradients that came out."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    from synthctx_data.tokens import BUNDLED
    from training.loss import AnswerTrainer

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=tokens,
    )
    ids = torch.randint(VOCABULARY, (tokens,)).tolist()
    rows = Dataset.from_list([{"input_ids": ids, "labels": [-100] * (tokens - LABELLED) + ids[-LABELLED:]}])
    with tempfile.TemporaryDirectory() as folder:
        trainer = (AnswerTrainer if ours else SFTTrainer)(
            model=LlamaForCausalLM(config),
            args=SFTConfig(
                folder, max_length=None, bf16=False, use_cpu=True, report_to="none", max_steps=1, disable_tqdm=True
            ),
            train_dataset=rows,
            processing_class=PreTrainedTokenizerFast.from_pretrained(str(BUNDLED)),
            peft_config=LoraConfig(target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM"),
        )
        short = trainer.data_collator([{"input_ids": ids[:32], "labels": ids[:32]}])
        trainer.training_step(
            trainer.model, short, num_items_in_batch=torch.tensor(31)
        )  # loads what a first step loads
        trainer.model.zero_grad()
        batch = trainer.data_collator([rows[0]])
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is held now
        started = time.perf_counter()
        loss = trainer.training_step(trainer.model, batch, num_items_in_batch=torch.tensor(LABELLED))
        seconds = time.perf_counter() - started
        peak = _memory("VmHWM") - before
    norms = [float(p.grad.norm()) for p in trainer.model.parameters() if p.grad is not None]
    return {"seconds": seconds, "bytes": peak, "loss": float(loss), "gradient": sum(n * n for n in norms) ** 0.5}


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--hidden", type=int, default=256)
    options = parser.parse_args()
    results = {}
    for name, ours in (("stock", False), ("ours", True)):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results[name] = pool.apply(measure, (ours, options.tokens, options.hidden))
        print(json.dumps({"trainer": name, **results[name]}), flush=True)
    stock, ours_ = results["stock"], results["ours"]
    print(
        json.dumps(
            {
                f"{what}, stock / ours": round(stock[what] / ours_[what], 3)
                for what in ("seconds", "bytes", "loss", "gradient")
            }
        )
    )


if __name__ == "__main__":
    main()
