"""The plan of the search: plan.yaml, read and checked. Candidates, and combinations of the best."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from experiments.plans import Part, Whole, read_plan
from synthctx_data.errors import UsageError
from synthctx_data.options import Options

HERE = Path(__file__).resolve().parent
REAL = "real"


class Candidate(Part):
    """A construction of training data: a variant with options of its builder, in equal shares with the variants `also`.

    `lengths` gives the share of the tokens that go into contexts of each number of tokens (empty: all into those of the plan). `rows`
    is the number of rows (None: as many as fill the plan's contexts), `real` that of real rows beside them, and `epochs` how often all
    are read.
    """

    variant: str = "templated_haystack"
    options: dict[str, int | str] = {}
    also: tuple[str, ...] = ()
    lengths: dict[int, float] = {}
    rows: int | None = None
    real: int = 0
    epochs: float = 1.0

    def joined(self, other: "Candidate") -> "Candidate":
        """This construction with the changes of another besides. Where both change the same, this one's change stays."""
        return Candidate(
            variant=self.variant,
            options={**other.options, **self.options},
            also=self.also or other.also,
            lengths=self.lengths or other.lengths,
        )


class Development(Part):
    """What candidates are chosen on: bases, seeds, and the number that the questions' wordings have."""

    bases: tuple[int, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    wording: int


class Judging(Development):
    """What the chosen candidates are judged on. No choice is made on it."""

    real_rows: tuple[int, ...]


class Tuning(Part):
    """The settings of tuning, which are the same for all candidates. `contexts` are those of `tokens` tokens that are read in all."""

    tokens: int
    contexts: int
    learning_rate: float
    batch_size: int


class Predicting(Part):
    """The short tuning of the predictors: its contexts, the real rows that heads are scored on and F1 is measured on, and heads."""

    contexts: int
    rows: int
    heads: int


class Combining(Part):
    """How axes are combined: those that bring at least `least` F1 on the development questions, and at most `most` of them."""

    least: float
    most: int
    kept: int


class Plan(Whole):
    """The whole plan. Bases are trained as the miniature's plan says, whose file is named from here."""

    miniature: str
    development: Development
    judging: Judging
    questions: int
    tuning: Tuning
    predicting: Predicting
    combining: Combining
    plain: tuple[str, ...]
    axes: dict[str, Candidate]
    bound: float
    closed: float
    spearman: float

    @model_validator(mode="after")
    def _is_honest(self) -> Self:
        if set(self.development.bases) & set(self.judging.bases):
            raise ValueError("expected other bases for judging than for development")
        if self.development.wording == self.judging.wording:
            raise ValueError("expected another wording of the questions for judging than for development")
        return self

    @property
    def candidates(self) -> dict[str, Candidate]:
        """All that is tried in development, by name: real data, the plain variants, and each axis by itself."""
        plain = {name: Candidate(variant=name) for name in self.plain}
        return {REAL: Candidate(variant="real_haystack"), **plain, **self.axes}

    def combinations(self, gains: Mapping[str, float]) -> dict[str, Candidate]:
        """The combinations of the axes of the highest gains: of the two best, the three best, and so on.

        An axis that cannot be joined to the better ones, or that changes only what they change, is left out.
        """
        found: dict[str, Candidate] = {}
        names: list[str] = []
        joined = Candidate()
        for axis in ranked({axis: gain for axis, gain in gains.items() if gain >= self.combining.least}):
            further = joined.joined(self.axes[axis])
            if further == joined or not _can_be_built(further):
                continue
            names, joined = [*names, axis], further
            if len(names) > 1:
                found["+".join(names)] = joined
            if len(names) == self.combining.most:
                break
        return found


def ranked(scores: Mapping[str, float]) -> list[str]:
    """The names, the highest score first; of equal scores, the first name in the alphabet."""
    return sorted(scores, key=lambda name: (-scores[name], name))


def with_real(candidate: Candidate, rows: int) -> Candidate:
    """A construction with some real rows besides."""
    return candidate.model_copy(update={"real": rows})


def real_alone(rows: int, contexts: int) -> Candidate:
    """Real rows alone, read so often that about as many contexts are read as of any other data."""
    return Candidate(variant="real_haystack", rows=rows, epochs=contexts / rows)


def load_plan(file: Path = HERE / "plan.yaml") -> Plan:
    """The plan in a file.

    Raises: UsageError if the file cannot be read, or holds no valid plan.
    """
    return read_plan(file, Plan, HERE / "plan.yaml")


def _can_be_built(candidate: Candidate) -> bool:
    try:
        Options.model_validate(candidate.options)
    except UsageError:
        return False
    return True
