"""The miniature: its world and tokenizer against the builders' rows, its bases, its statistics on planted scores, and a whole run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.heads import HeadScores, Scored
from builders.mdqa_synth import MdqaSynth
from experiments.claims import FAILS, HOLDS, OPPOSITE, SAME, UNTESTED
from experiments.miniature import base as bases
from experiments.miniature.corpus import guessing, write_corpus
from experiments.miniature.lessons import ANSWER, ELSEWHERE, FIRST, WRITERS, conversation, copying
from experiments.miniature.passages import make_passages
from experiments.miniature.plan import HERE, REAL, REFERENCE, Base, load_plan
from experiments.miniature.results import Results
from experiments.miniature.stages import Study, compare_heads
from experiments.miniature.tokenizer import PHRASES, make_tokenizer
from experiments.miniature.verdicts import claims
from synthctx_data.errors import UsageError
from synthctx_data.files import write_json
from synthctx_data.matching import comparable
from synthctx_data.seeding import rng
from tests.commands import ROOT, process
from training.turns import prompt_ids

SMOKE = HERE / "smoke.yaml"


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def rows(tokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    """Rows of every variant of the plan, made by the product's builder."""
    place = tmp_path_factory.mktemp("rows")
    tokenizer.save_pretrained(place / "tokenizer")
    corpus = write_corpus(place / "corpus.jsonl", 120, "test")
    found = {}
    for name, variant in load_plan().variants.items():
        options = {"max_tokens": 512, "tokenizer": str(place / "tokenizer")}
        if variant.variant.startswith("symbolic"):
            options["key_style"] = "word"
        if variant.among_real or name == REAL:
            options["corpus"] = (str(corpus),)
        builder = MdqaSynth(config_name=variant.variant, train=8, validation=8, **options)
        found[name] = [row for part in builder.as_streaming_dataset().values() for row in part]
    return found


def test_every_passage_answers_its_questions_once() -> None:
    stream = rng("test", "passages")
    for _ in range(200):
        for one in make_passages(stream, 3):
            for ask in one.asks:
                assert one.text.count(ask.answer) >= 1
                assert one.title in ask.question
                assert ask.answer not in ask.question


def test_no_one_is_the_subject_of_two_passages_of_a_corpus(tmp_path: Path) -> None:
    file = write_corpus(tmp_path / "corpus.jsonl", 200, "test")
    titles = [one["title"] for line in file.read_text().splitlines() for one in json.loads(line)["ctxs"]]
    assert len(titles) == len(set(titles)) == 1000


def test_the_tokenizer_knows_every_word_of_every_variant(tokenizer, rows) -> None:
    for variant, examples in rows.items():
        for row in examples:
            ids = prompt_ids(tokenizer, row)
            assert tokenizer.unk_token_id not in ids, variant
            answer = row["answers"][0]
            said = tokenizer.decode(tokenizer(answer)["input_ids"])
            assert comparable(said).replace(" ", "") == comparable(answer).replace(" ", "")


def test_the_phrases_are_those_of_the_prompt(tokenizer, rows) -> None:
    for row in rows[REAL]:
        ids = prompt_ids(tokenizer, row)
        counts = [ids.count(tokenizer.convert_tokens_to_ids(phrase)) for phrase in PHRASES]
        documents = len(row["documents"])
        assert counts == [1, documents, documents, documents, 1, 1]


def test_lessons_are_laid_out_as_the_builder_does(tokenizer, rows) -> None:
    texts = [row["prompt"][0]["content"] for row in rows[REAL]]
    ids, _ = conversation(rng("test", "lesson"), tokenizer, 4096, "real")
    lesson = tokenizer.decode(ids).split("<|end|>")[0]
    shape = r"Read the [^\n]+\n\n(Document \[\d+\]\n[^\n]+\n[^\n]+\n\n)+Question: [^\n]+\nAnswer with [^\n]+"
    assert all(re.fullmatch(shape, text) for text in texts)
    assert re.fullmatch(
        shape, re.sub(r" *\n *", "\n", lesson.replace("<|user|> ", "")).replace("[ ", "[").replace(" ]", "]").strip()
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_weighed_in_a_lesson_is_an_answer(tokenizer, kind: str) -> None:
    stream = rng("test", kind)
    for _ in range(50):
        ids, weights = conversation(stream, tokenizer, 128, kind)
        assert len(ids) == len(weights) <= 128
        starts = [i for i, weight in enumerate(weights) if weight == FIRST]
        assert all(ids[i - 1] == tokenizer.convert_tokens_to_ids("<|assistant|>") for i in starts)
        assert (
            {i + 1 for i, token in enumerate(ids[:-1]) if token == ids[starts[0] - 1]} == set(starts)
            if starts
            else True
        )


def test_what_is_weighed_in_copying_was_there_before() -> None:
    stream = rng("test", "copying")
    for _ in range(200):
        ids, weights = copying(stream, 1000, 40)
        assert len(ids) == len(weights) == 40
        assert all(ids[i] in ids[:i] for i, weight in enumerate(weights) if weight == ANSWER)
        assert {ANSWER, ELSEWHERE} == set(weights)


@pytest.fixture(scope="module")
def small() -> Base:
    return load_plan().base


def test_the_first_heads_look_back(tokenizer, small: Base) -> None:
    torch.manual_seed(0)
    model = bases.make_model(small, tokenizer).eval()
    model.set_attn_implementation("eager")
    ids = torch.randint(5, len(tokenizer), (1, 64))
    with torch.no_grad():
        first = model(ids, output_attentions=True).attentions[0][0]
    for head, tokens in enumerate(small.look_back):
        at = first[head].argmax(-1)[8:]
        assert (at == torch.arange(8, 64) - tokens).float().mean() > 0.9


def test_heads_that_are_left_out_of_a_lesson_say_nothing(tokenizer, small: Base) -> None:
    torch.manual_seed(0)
    model = bases.make_model(small, tokenizer).eval()
    drops = bases.Drops(model)
    ids = torch.randint(5, len(tokenizer), (64, 8))
    phase = small.phases[0].model_copy(update={"batch": 64, "heads": 5, "fewer": 0.5, "without": {2: 0.5}})
    drops.draw(phase)
    assert drops.kept is not None
    number = drops.kept.sum(-1)
    assert (drops.kept.cumprod(-1) == drops.kept).all()  # the first few
    assert (number[0] == small.heads).all()
    assert {1, 5} <= set(number[1].tolist()) <= {1, 2, 3, 4, 5}
    assert 16 < (number[2] == 0).sum() < 48
    with torch.no_grad():
        dropped = model(ids).logits
        for layer, of_layer in enumerate(model.model.layers):
            weight = of_layer.self_attn.o_proj.weight
            weight *= drops.kept[layer, 0].repeat_interleave(small.head_dimension)
        drops.kept = None
        assert torch.allclose(model(ids[:1]).logits, dropped[:1], atol=1e-5)


def test_a_base_that_is_interrupted_ends_with_the_same_weights(tmp_path: Path, small: Base, monkeypatch) -> None:
    monkeypatch.setattr(bases, "_SAVE", 4)
    plan = small.model_copy(
        update={"phases": tuple(p.model_copy(update={"steps": 3, "batch": 4}) for p in small.phases[:3])}
    )
    told: list[float] = []
    straight = bases.make_base(tmp_path / "straight", plan, 7, told.append)

    class KilledError(Exception):
        pass

    def kill(share: float) -> None:
        if share > 0.6:
            raise KilledError

    with pytest.raises(KilledError):
        bases.make_base(tmp_path / "killed", plan, 7, kill)
    resumed: list[float] = []
    killed = bases.make_base(tmp_path / "killed", plan, 7, resumed.append)
    assert (straight / "model.safetensors").read_bytes() == (killed / "model.safetensors").read_bytes()
    assert len(told) == 9
    assert len(resumed) == 5  # from step 4 on
    other = bases.make_base(tmp_path / "other", plan, 8, told.append)
    assert (straight / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_the_checkpoint_is_trained_as_the_plan_says(tmp_path: Path, small: Base) -> None:
    place = Path(load_plan(SMOKE).checkpoint)
    taken = bases.take_base(place, tmp_path / "taken", small)
    assert (taken / "model.safetensors").read_bytes() == (place / "model.safetensors").read_bytes()
    with pytest.raises(UsageError, match="trained as the plan says"):
        bases.take_base(place, tmp_path / "other", small.model_copy(update={"width": 32}))
    with (taken / "model.safetensors").open("ab") as file:
        file.write(b"0")
    with pytest.raises(UsageError, match="expected the SHA-256"):
        bases.take_base(taken, tmp_path / "changed", small)
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_a_plan_says_only_what_is_different() -> None:
    plan, smoke = load_plan(), load_plan(SMOKE)
    assert smoke.base == plan.base
    assert smoke.gates == plan.gates
    assert set(smoke.variants) < set(plan.variants)
    assert smoke.tuning == plan.tuning.model_copy(update={"examples": 160, "validation": 16})


def test_guessing_is_the_mean_over_objects_of_the_relation(tmp_path: Path) -> None:
    contexts = [
        {"title": "A", "text": "A is run from Rome.", "said": {"seat": "Rome"}, "isgold": True},
        {"title": "B", "text": "B is run from New York.", "said": {"seat": "New York", "chief": "Al"}},
        {"title": "C", "text": "C is led by Al.", "said": {"chief": "Al"}},
    ]
    question = {"question": "From where is A run?", "answers": ["Rome"], "ctxs": contexts, "relation": "seat"}
    file = tmp_path / "corpus.jsonl"
    file.write_text(json.dumps(question) + "\n")
    texts = [f"{one['title']}\n{one['text']}" for one in contexts]
    starts = np.cumsum([0, *(len(text) + 2 for text in texts)])
    documents = [{"start": int(at), "end": int(at) + len(text)} for at, text in zip(starts, texts, strict=False)]
    row = {"prompt": [{"content": "\n\n".join(texts)}], "documents": documents, **question}
    assert guessing(file, [row]) == [0.5]


ROWS = [{"id": str(i), "answers": ["yes"], "completion": [{"content": "yes"}], "needles": []} for i in range(100)]


def _plant(study: Study, f1: dict[str, float], shared: dict[str, int], knocked: float = 0.0, gap: float = 0.0) -> None:
    """Writes what a run would have: of the reference's 8 retrieval heads, each variant's models have so many, and another F1.

    Without its highest heads a real-tuned model keeps a share `knocked`. Patched with shared heads, all others are `gap` below it.
    """
    plan = study.plan
    places = [(base, variant, seed) for base in plan.bases for variant in plan.variants for seed in plan.seeds]
    for base, variant, seed in [*places, *((base, REAL, REFERENCE) for base in plan.bases)]:
        values = np.full((plan.base.layers, plan.base.heads), 0.01, np.float32)
        values[2, : shared[variant] if seed != REFERENCE else 8] = 0.5
        values[3, shared[variant] if seed != REFERENCE else 8 :] = 0.5
        one = [Scored(str(i), values, values[None], values[None]) for i in range(3)]
        folder = study.at(base, variant, seed)
        for heads in ("heads", "own_heads"):
            HeadScores.of(one, {"score": "wu_forced"}).save(folder / heads / "heads.safetensors")
        _answers(folder / "f1", f1[variant] + 0.01 * (base % 2))
    for base in plan.bases:
        for name in ("short", "raw", "theta"):
            _answers(study.at(base, name), 0.9 if name == "short" else 0.0)
        _plant_interventions(study, base, f1[REAL], knocked, gap)
        compare_heads(study, base)


def _plant_interventions(study: Study, base: int, real: float, knocked: float, gap: float) -> None:
    folder, layers = study.at(base, REAL, study.plan.seeds[0], "knockout"), study.plan.base.layers
    sets = {"highest heads": [(2, 0)], "same layers": [(2, 7)], "other layers": [(1, 0)], "all layers": [(1, 1)]}
    folder.mkdir(parents=True)
    write_json(folder / "knockout.json", {"heads": {name: {1: [heads]} for name, heads in sets.items()}})
    write_json(folder / "layers.json", {"f1": [real] * layers})
    for name, left in (("none", real), ("2-0", knocked * real), ("2-7", real), ("1-0", real), ("1-1", real)):
        _answers(folder / name, left)
    for variant in study.plan.variants:
        patch = study.at(base, variant, study.plan.seeds[0], "patch")
        patch.mkdir(parents=True)
        write_json(patch / "patch.json", {"about": {"heads": {"intersect": [[(2, 0)]], "random": [[(1, 0)]]}}})
        for name, f1 in (("recipient", 0.2), ("donor", real), ("2-0", real - gap), ("1-0", 0.2)):
            _answers(patch / name, f1)


def _answers(folder: Path, f1: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    right = round(f1 * len(ROWS))
    given = [{"id": row["id"], "prediction": "yes" if i < right else "no"} for i, row in enumerate(ROWS)]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in given))
    (folder / "scores.json").write_text(json.dumps({"all": {"all": {"f1": {"mean": f1}, "em": {"mean": f1}}}}))


def _verdicts(study: Study) -> dict[str, str]:
    found = Results(study)
    found.__dict__.update(rows=ROWS, guessed=lambda _: 0.1)
    return {claim.says: claim.verdict for claim in claims(found)}


def few(place: Path, bases: int, *variants: str) -> Study:
    """A study of so many bases, one seed, and these variants (or all)."""
    plan = load_plan()
    measuring = plan.measuring.model_copy(update={"knocked_out": (1,)})
    kept = {name: plan.variants[name] for name in variants or plan.variants}
    gates = plan.gates.model_copy(update={"layers": 1})  # the planted heads are all of one layer
    changes = {"bases": tuple(range(1, bases + 1)), "variants": kept, "measuring": measuring, "gates": gates}
    return Study(place, plan.model_copy(update=changes))


GAP, NECESSARY = "Synthetic data falls short of real data.", "Retrieval heads are necessary (knockout)."
HELPS, CLOSES = "Patching shared heads from the real-tuned model helps.", "It does not close the gap."


@pytest.mark.parametrize(
    ("real", "verdict"), [(0.9, HOLDS), (0.3, OPPOSITE), (0.61, f"{SAME} above 0.05")], ids=["above", "below", "same"]
)
def test_a_gap_that_was_planted_is_found(tmp_path: Path, real: float, verdict: str) -> None:
    study = few(tmp_path, 4, REAL, "symbolic_haystack")
    _plant(study, {REAL: real, "symbolic_haystack": 0.6}, {REAL: 7, "symbolic_haystack": 4})
    found = _verdicts(study)
    assert found[GAP] == verdict
    assert found[NECESSARY] == HOLDS
    assert {found[says] for says in found if "goes with F1" in says} == {UNTESTED}  # of one variant


def test_two_bases_give_no_interval(tmp_path: Path) -> None:
    study = few(tmp_path, 2, REAL, "symbolic_haystack")
    _plant(study, {REAL: 0.9, "symbolic_haystack": 0.6}, {REAL: 7, "symbolic_haystack": 4})
    found = _verdicts(study)
    assert {found[says] for says in (GAP, NECESSARY, HELPS, CLOSES)} == {f"{UNTESTED}: 2 bases give no interval"}


@pytest.mark.parametrize(("gap", "closes"), [(0.3, HOLDS), (0.0, f"{SAME} above 0.05"), (0.06, FAILS)])
def test_what_patching_leaves_is_weighed_against_the_bound(tmp_path: Path, gap: float, closes: str) -> None:
    study = few(tmp_path, 4, REAL, "symbolic_haystack")
    _plant(study, {REAL: 0.9, "symbolic_haystack": 0.2}, {REAL: 7, "symbolic_haystack": 4}, knocked=1.0, gap=gap)
    found = _verdicts(study)
    assert (found[HELPS], found[CLOSES]) == (HOLDS, closes)
    assert found[NECESSARY] == f"{SAME} above 0.05"


def test_a_claim_whose_gate_is_not_met_does_not_hold(tmp_path: Path) -> None:
    study = few(tmp_path, 4, REAL, "symbolic_haystack")
    _plant(study, {REAL: 0.9, "symbolic_haystack": 0.6}, {REAL: 7, "symbolic_haystack": 4})
    for base in study.plan.bases:
        write_json(study.at(base, REAL, 1, "knockout", "layers.json"), {"f1": [0.9, 0.0, 0.9, 0.9, 0.9]})
    found = _verdicts(study)
    assert found[GAP] == HOLDS
    assert found[NECESSARY].startswith("gate not met: F1 of base 1, tuned on real, without any one layer")


@pytest.mark.parametrize(("slope", "verdict"), [(0.1, HOLDS), (-0.1, FAILS)])
def test_a_correlation_that_was_planted_is_found(tmp_path: Path, slope: float, verdict: str) -> None:
    """It is of the variants without real, so that one point that is judged against its own kind cannot make it."""
    study = few(tmp_path, 3)
    shared = {variant: 7 - i for i, variant in enumerate(study.plan.variants)}
    f1 = {variant: (0 if slope > 0 else 0.8) + slope * shared[variant] for variant in shared}
    _plant(study, {**f1, REAL: 0.9}, shared)
    found = _verdicts(study)
    related = {says: verdict for says, verdict in found.items() if "goes with F1" in says}
    assert len(related) == 4
    assert set(related.values()) == {verdict}


@pytest.mark.parametrize(("f1", "shared"), [(0.01, 1), (0.1, 0)])
def test_what_does_not_vary_is_untestable(tmp_path: Path, f1: float, shared: int) -> None:
    study = few(tmp_path, 1)
    heads = {variant: 4 + shared * (i % 3) for i, variant in enumerate(study.plan.variants)}
    _plant(study, {variant: 0.9 - f1 * i for i, variant in enumerate(study.plan.variants)}, heads)
    found = _verdicts(study)
    assert {verdict for says, verdict in found.items() if "goes with F1" in says and "Recall" in says} == {UNTESTED}


@pytest.mark.slow
def test_a_whole_run_reports_and_a_second_one_repeats_nothing(tmp_path: Path) -> None:
    command = (ROOT / "experiments" / "miniature" / "run.py", "--plan", SMOKE, "--workers", 1)
    seen = []
    for _ in range(2):
        ran = process(*command, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        report = (tmp_path / "REPRODUCTION.md").read_text()
        weights = {
            file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors") if "heads" not in str(file)
        }
        written = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("predictions.jsonl")}
        seen.append((report, weights, written))
    assert seen[0] == seen[1]
    sections = re.findall(r"^## (.+)$", report, re.M)
    assert sections[:3] == ["Claims", "Gates", "F1 on the test questions"]
    met = dict(re.findall(r"^\| (.+?) \| .+ \| (yes|\*\*no\*\*) \| .+ \|$", report, re.M))
    assert len(met) == 8
    wanted = ("exact match", "over guessing", "layers with retrieval heads", "heads of a layer")
    assert {gate: seen for gate, seen in met.items() if any(part in gate for part in wanted) and seen != "yes"} == {}
