"""SummHay Citation: given an insight, cite every document that contains it (Laban et al. 2024)."""

from builders.lazy import lazy_builder
from builders.summhay_synth.grounded import Grounded
from builders.summhay_synth.llm import Llm
from builders.summhay_synth.real import Real
from builders.summhay_synth.symbolic import Symbolic
from builders.summhay_synth.templated import Templated
from synthctx_data.task import Task, Variant

TASK = Task(
    name="summhay_synth",
    asks="an insight; the answer cites every document that contains it",
    variants={
        "real_haystack": Variant(Real, "haystack"),
        "grounded_haystack": Variant(Grounded, "haystack"),
        "llm_haystack": Variant(Llm, "haystack"),
        "llm_padding": Variant(Llm, "padding"),
        "templated_haystack": Variant(Templated, "haystack"),
        "templated_padding": Variant(Templated, "padding"),
        "symbolic_haystack": Variant(Symbolic, "haystack"),
        "symbolic_padding": Variant(Symbolic, "padding"),
    },
    train=360,
    validation=40,
)

__getattr__ = lazy_builder("SummhaySynth", TASK, __name__)
