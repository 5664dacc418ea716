from hypothesis import given
from hypothesis import strategies as st

from builders.hub.versions import changelog, differences, following, latest

ONE = {
    "content": "1.2.0",
    "synthctx": "0.1.0",
    "shards": None,
    "seed": 0,
    "train": 10,
    "validation": 2,
    "fingerprint": "a",
}
TAGS = st.tuples(*[st.integers(0, 30)] * 3).map(lambda numbers: "v" + ".".join(map(str, numbers)))


def raised(**changes: object) -> str:
    return following("v3.4.5", differences({"a": ONE}, {"a": {**ONE, "fingerprint": "b", **changes}}))


def test_what_changes_rows_raises_major_and_what_adds_some_minor() -> None:
    assert raised(seed=1) == raised(content="2.0.0") == raised(train=9) == raised(model="m") == "v4.0.0"
    assert raised(train=11) == raised(validation=3, content="1.3.0") == "v3.5.0"
    assert raised(shards=4) == raised(content="1.3.0") == raised(synthctx="9") == "v3.4.6"
    assert following("v3.4.5", differences({"a": ONE}, {"a": ONE, "b": ONE})) == "v3.5.0"
    assert following("v3.4.5", differences({"a": ONE, "b": ONE}, {"a": ONE})) == "v4.0.0"
    assert differences({"a": ONE}, {"a": ONE}) == []


def test_more_answers_of_a_model_may_be_other_answers() -> None:
    before, after = {**ONE, "answers": "x"}, {**ONE, "answers": "y", "train": 11}
    assert following("v1.0.0", differences({"a": before}, {"a": after})) == "v2.0.0"


@given(st.lists(TAGS, unique=True), st.lists(st.sampled_from(["main", "v1", "v1.0", "draft", "v1.0.0-rc"])))
def test_the_version_after_is_later_than_all_whatever_other_tags_there_are(tags: list[str], others: list[str]) -> None:
    last = latest([*others, *tags])
    assert (last is None) == (not tags)
    new = following(last, differences({}, {"a": ONE}))
    assert latest([*tags, *others, new]) == new
    assert new not in tags


@given(st.lists(st.booleans(), max_size=6))
def test_a_changelog_keeps_versions_that_are_tagged_and_drops_those_that_never_came_to_be(tagged: list[bool]) -> None:
    text, tags, tag = "", [], None
    for is_tagged in tagged:
        tag = following(latest(tags), differences({}, {"a": ONE}))
        text = changelog(text, tags, tag, differences({}, {"a": ONE}))
        if is_tagged:
            tags.append(tag)
    final = following(latest(tags), differences({}, {"b": ONE}))
    text = changelog(text, tags, final, differences({}, {"b": ONE}))
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [final, *reversed(tags)]
    assert text.count("- `a` added") == len(tags)
