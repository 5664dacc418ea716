import pytest
import yaml

from builders import TASKS
from experiments.make_recipes import RECIPES as RECIPES_FOLDER
from experiments.make_recipes import recipes
from synthctx_data.command import script
from synthctx_data.dataset import parse_variant_address
from synthctx_data.errors import UsageError
from synthctx_data.files import read_yaml
from tests.commands import call
from training.options import Recipe

RECIPES = sorted(RECIPES_FOLDER.glob("*.yaml"))


def test_the_recipes_are_those_of_the_template() -> None:
    assert {path.name: path.read_text() for path in RECIPES} == recipes()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_valid_and_names_data_that_can_be_built(path) -> None:
    recipe = Recipe(**read_yaml(path, "a recipe"))
    (address,) = map(parse_variant_address, recipe.data)
    assert TASKS[address.place.removeprefix("synthctx/")].variant(address.variant)


def test_both_models_of_the_paper_have_every_variant() -> None:
    cells = sum(len(task.variants) for task in TASKS.values())
    for model, theta_of in (("llama3", 8192), ("mistral", 8192)):
        mine = [read_yaml(path, "a recipe") for path in RECIPES if path.stem.startswith(model)]
        assert len(mine) == cells
        assert {values["trained_tokens"] for values in mine} == {theta_of}
        assert {values["max_tokens"] for values in mine} == {32768}
    assert read_yaml(RECIPES_FOLDER / "mistral_mdqa_symbolic.yaml", "a recipe")["sliding_window"] == 16384


def test_the_command_line_goes_over_the_file_and_the_file_over_the_defaults(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: m\ndata: [a:b]\nlora_rank: 16\nlearning_rate: 1e-3\ngradient_checkpointing: false\n")
    seen: list[tuple[Recipe, str]] = []
    app = script("finetune", Recipe, lambda *given: seen.append(given), "", "")
    ran = call(app, "--config", path, "--lora-rank", 32, "--data", "c:d", "e:f*2", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    ((recipe, name),) = seen
    assert name == "mine"
    assert (recipe.lora_rank, recipe.learning_rate, recipe.lora_alpha) == (32, 1e-3, 8)
    assert recipe.data == ["c:d", "e:f*2"]
    assert recipe.gradient_checkpointing is False
    assert yaml.safe_load(yaml.safe_dump(recipe.decisive())) == recipe.decisive()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "--model is missing: A folder or a Hub id"),
        ({"model": "m"}, "--data is missing"),
        ({"model": "m", "data": []}, "--data: "),
        ({"model": "m", "data": ["a:b"], "lora_rank": 0}, "--lora-rank: expected greater than 0, got 0"),
        ({"model": "m", "data": ["a:b"], "lora_rank": "many"}, "--lora-rank: expected a valid integer.* got 'many'"),
        (
            {"model": "m", "data": ["a:b"], "rope": "longer"},
            "--rope: expected 'theta', 'yarn' or 'linear', got 'longer'",
        ),
        ({"model": "m", "data": ["a:b"], "lora_dropout": 1}, "--lora-dropout: expected less than 1, got 1"),
        ({"model": "m", "data": ["a:b"], "lernrate": 1}, "expected options among model, .* got 'lernrate'"),
        ({"model": "m", "data": ["a:b"], "learning_rate": float("nan")}, "--learning-rate: "),
    ],
)
def test_bad_options_say_what_was_expected(values: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe(**values)
