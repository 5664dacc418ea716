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
# Our models: a newer one, a small real one (python training/smollm2.py models/smollm2), and one that was set by hand (training/tiny.py).
OURS = {
    "qwen3": ("Qwen/Qwen3-8B", ""),
    "smollm2": ("models/smollm2", "learning_rate: 3.0e-3\naccumulation: 2\n"),
    "tiny": ("models/tiny", "learning_rate: 1.0e-2\n"),
}
_ONLY = {
    "qwen3": [("mdqa_synth", "symbolic_haystack")],
    "smollm2": [("mdqa_synth", "real_haystack"), ("mdqa_synth", "templated_haystack")],
    "tiny": [("mdqa_synth", "symbolic_padding")],
}
_TOKENS = {"tiny": 600, "smollm2": 1024}
_SIZES = {
    "smollm2": " --questions 5 --train 150 --validation 40",
    "tiny": " --key-style word --train 400 --validation 40",
}
_CORPORA = {"smollm2": "tests/data/nq-open-oracle-500.jsonl.gz --distractors random"}

_RECIPE = """\
# {model_name} on {task}, {variant}. Build the data first:
#   synthctx build {task} {variant} --max-tokens {tokens} --tokenizer {model}{corpus}{sizes}
model: {model}
{more}max_tokens: {tokens}
data:
  - synthctx/{task}:{variant}
"""


def recipes() -> dict[str, str]:
    """The text of every recipe, by file name."""
    cells = [(task.name, variant) for task in TASKS.values() for variant in task.variants]
    asked = [(model, *cell) for model in PAPER for cell in cells] + [
        (model, *cell) for model in OURS for cell in _ONLY[model]
    ]
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
        corpus={
            "real": f" --corpus {_CORPORA.get(name, 'QUESTIONS')}",
            "llm": " --model WRITER",
            "grounded": " --corpus DOCUMENTS --model WRITER",
        }.get(variant.partition("_")[0], ""),
        sizes=_SIZES.get(name, ""),
    )


if __name__ == "__main__":
    for name, text in recipes().items():
        (RECIPES / name).write_text(text, encoding="utf-8")
