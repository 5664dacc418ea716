"""Writes training/recipes, all from one template: python experiments/make_recipes.py"""

from pathlib import Path

from builders import TASKS

RECIPES = Path(__file__).resolve().parents[1] / "training" / "recipes"

# The paper's models: the Hub id, and further lines of a recipe.
PAPER = {
    "llama3": ("meta-llama/Meta-Llama-3-8B-Instruct", "trained_tokens: 8192  # theta becomes 6315088\n"),
    "mistral": (
        "mistralai/Mistral-7B-Instruct-v0.1",
        "trained_tokens: 8192  # theta becomes 59300\nsliding_window: 16384\n",
    ),
}
# Our models, each on one variant: a newer one, and one that trains on any machine (python training/tiny.py models/tiny).
OURS = {
    "qwen3": ("Qwen/Qwen3-8B", ""),
    "tiny": ("models/tiny", "learning_rate: 1.0e-2\n"),
}
_TOKENS = {"tiny": 600}
_ONLY = {"qwen3": ("mdqa_synth", "symbolic_haystack"), "tiny": ("mdqa_synth", "symbolic_padding")}

_RECIPE = """\
# {model_name} on {task}, {variant}. Build the data first:
#   synthctx build {task} {variant} --max-tokens {tokens} --tokenizer {model}{corpus}{words}
model: {model}
{more}max_tokens: {tokens}
data:
  - synthctx/{task}:{variant}
"""


def recipes() -> dict[str, str]:
    """The text of every recipe, by file name."""
    cells = [(task.name, variant) for task in TASKS.values() for variant in task.variants]
    asked = [(model, *cell) for model in PAPER for cell in cells] + [(model, *_ONLY[model]) for model in OURS]
    return {file_name(model, task, variant): _recipe(model, task, variant) for model, task, variant in asked}


def file_name(model: str, task: str, variant: str) -> str:
    """The file name of a recipe, such as llama3_mdqa_symbolic.yaml. It leaves out the ending _haystack."""
    return f"{model}_{task.removesuffix('_synth')}_{variant.removesuffix('_haystack')}.yaml"


def _recipe(name: str, task: str, variant: str) -> str:
    model, more = {**PAPER, **OURS}[name]
    return _RECIPE.format(
        model_name=name,
        task=task,
        variant=variant,
        model=model,
        more=more,
        tokens=_TOKENS.get(name, 32768),
        corpus={"real": " --corpus QUESTIONS", "llm": " --model WRITER"}.get(variant.partition("_")[0], ""),
        words=" --key-style word --train 400 --validation 40" if name == "tiny" else "",
    )


if __name__ == "__main__":
    for name, text in recipes().items():
        (RECIPES / name).write_text(text, encoding="utf-8")
