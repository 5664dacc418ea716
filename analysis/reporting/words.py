"""The section of the report that says what its words mean."""

from analysis.reporting.collect import Found
from analysis.reporting.parts import Part, Section, Table

_WORDS = (
    ("needle", "the passage that answers a question; the rest of the context is the haystack"),
    ("retrieval head", "an attention head that looks back at the needle and copies from it while the model answers"),
    ("18-6", "head 6 of layer 18; both count from 0"),
    (
        "f1",
        "the words that an answer has in common with a right one, in [0, 1]: it falls with each word too many or too few",
    ),
    ("em", "1 if an answer has the words of a right one, and no others"),
    ("subspan_em", "1 if a right answer stands in the answer, whatever stands around it"),
    (
        "wu, wu_forced",
        "the share of the answer's tokens that a head copies from a needle; forced: of the right answer, whatever the model says",
    ),
    (
        "mass, qrhead",
        "the attention of the question on the needles, or on their documents, minus that of an empty question",
    ),
    ("logit", "what a head adds to the logits of the answer from the needles"),
    (
        "edge, ablate",
        "the log-probability that the answer loses if one head does not see the needles, or puts out nothing",
    ),
    (
        "calibrate, span",
        "whether the score under an empty question is subtracted; what counts as the needle: all of it, or the sentence with its answer",
    ),
    ("recall@10", "the share of the reference model's 10 highest heads that are among a model's 10 highest"),
    ("recall@>=0.1", "the same for all heads with a score of 0.1 or more"),
    ("reference", "the model that others are compared with: the one tuned on real data"),
    ("real/2", "a model by the last parts of its folder, such as the data it was tuned on, and the seed"),
    (
        "knockout",
        "the model answers without some heads. mode zero: they put out nothing; mean: their mean; uniform: they look everywhere "
        "alike; edge: they do not see the needles. phase: while it reads (prefill), answers, or both",
    ),
    ("patching", "some heads of a model (the recipient) put out what the same heads of another model (the donor) do"),
    ("rope theta, yarn, linear", "how positions were extended, if they were"),
    (
        "weights",
        "hashes of the weights of model and adapter; null: there is none, or none other than the adapter's own",
    ),
    ("fingerprint", "a hash of the configuration that a data set was built from"),
)


def words(_: Found) -> Section:
    """A table of the words that a report uses."""
    table = Table(["word", "what it means"], _WORDS)
    return Section("words", "Words", "What names in this report mean.", [Part("Names", tables=[table])])
