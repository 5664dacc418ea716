"""MuSiQue: a multi-hop question, with one gold document for each hop (Trivedi et al. 2022)."""

from builders.lazy import lazy_builder
from builders.musique_synth.grounded import Grounded
from builders.musique_synth.llm import Llm
from builders.musique_synth.real import Real, RealLimited
from builders.musique_synth.symbolic import Symbolic
from builders.musique_synth.templated import Templated
from synthctx_data.task import Task, Variant

TASK = Task(
    name="musique_synth",
    asks="a question of 2 to 4 hops, one gold document for each",
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
    train=360,
    validation=40,
)

__getattr__ = lazy_builder("MusiqueSynth", TASK, __name__)
