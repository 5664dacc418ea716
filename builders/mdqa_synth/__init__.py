"""MDQA: a single-hop question, with one gold document among many (Liu et al. 2024)."""

from builders.lazy import lazy_builder
from builders.mdqa_synth.grounded import Grounded
from builders.mdqa_synth.llm import Llm
from builders.mdqa_synth.real import Real, RealLimited
from builders.mdqa_synth.symbolic import Symbolic
from builders.mdqa_synth.templated import Templated
from synthctx_data.task import Task, Variant

TASK = Task(
    name="mdqa_synth",
    asks="a single-hop question, answered by one gold document among many",
    variants={
        "real_haystack": Variant(Real, "haystack"),
        "real_limited": Variant(RealLimited, "haystack"),
        "grounded_haystack": Variant(Grounded, "haystack"),
        "llm_haystack": Variant(Llm, "haystack"),
        "llm_padding": Variant(Llm, "padding"),
        "templated_haystack": Variant(Templated, "haystack"),
        "templated_padding": Variant(Templated, "padding"),
        "symbolic_haystack": Variant(Symbolic, "haystack"),
        "symbolic_padding": Variant(Symbolic, "padding"),
    },
    train=1260,
    validation=140,
)

__getattr__ = lazy_builder("MdqaSynth", TASK, __name__)
