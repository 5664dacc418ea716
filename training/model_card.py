"""The model card of an adapter."""

from pathlib import Path
from typing import Any

import peft
import transformers
import trl
import yaml
from huggingface_hub import ModelCard, ModelCardData
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.options import Recipe
from training.turns import end_of_answer

_TEMPLATE = Path(__file__).parent / "model_card.md.jinja"


def write_card(
    output: Path, recipe: Recipe, tokenizer: Tokenizer, data: list[dict[str, str]], log: list[dict[str, Any]]
) -> None:
    """Writes README.md: what was trained, on which rows, how it went, how to load it, and where its answers end."""
    losses = [entry for entry in log if "loss" in entry]
    validations = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    local = Path(recipe.model).is_dir()
    card = ModelCard.from_template(
        ModelCardData(
            base_model=None if local else recipe.model,
            library_name="peft",
            pipeline_tag="text-generation",
            tags=["synthctx", "synthetic-context-extension", "lora", "arxiv:2410.22316"],
            datasets=[entry["address"].split(":")[0] for entry in data]
            if all("revision" in entry for entry in data)
            else None,
        ),
        template_path=str(_TEMPLATE),
        name=output.name,
        here=recipe.push_to or str(output),
        base=f"`{recipe.model}`" if local else f"[{recipe.model}](https://huggingface.co/{recipe.model})",
        recipe=recipe,
        end_token=tokenizer.convert_ids_to_tokens(end_of_answer(tokenizer)),
        end_id=end_of_answer(tokenizer),
        chat=bool(tokenizer.chat_template),
        options=yaml.safe_dump(recipe.decisive(), sort_keys=False),
        data=data,
        steps=max((entry["step"] for entry in log), default=0),
        first_loss=f"{losses[0]['loss']:.3f}" if len(losses) > 1 else None,
        last_loss=f"{losses[-1]['loss']:.3f}" if losses else None,
        validation_loss=f"{validations[-1]:.3f}" if validations else None,
        versions={"transformers": transformers.__version__, "trl": trl.__version__, "peft": peft.__version__},
    )
    card.save(output / "README.md")
