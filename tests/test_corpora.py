import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.real_questions import UnusableError, find_answer_span, find_chain
from synthctx_data.corpora import read_corpus
from synthctx_data.errors import CorpusError, UsageError
from synthctx_data.example import Document
from synthctx_data.matching import comparable, comparables, mentions
from synthctx_data.passages import split_passages
from tests.conftest import CORPORA, CORPUS

GOLD = {"title": "T", "text": "It was in 1901.", "isgold": True, "hasanswer": True}
QUESTION = {"question": "when?", "answers": ["1901"], "ctxs": [GOLD]}


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_the_real_corpus_is_read_whole() -> None:
    corpus = read_corpus([str(CORPUS)])
    assert len(corpus.questions) == 500
    assert 480 <= len(corpus.documents) <= 500
    found, refused = [], []
    for question in corpus.questions:
        try:
            found.append((question, find_chain(corpus, question)))
        except UnusableError as error:
            refused.append(str(error))
    assert len(found) >= 480
    assert set(refused) <= {
        "that hold their own answer",
        "whose gold passage does not hold the answer as words of its own",
    }
    for question, (span,) in found:
        text = corpus.documents[question.gold[0]].text[span.start : span.end]
        assert comparable(text) in comparables(question.hops[0].answers)


def test_rows_of_every_format_are_the_same_documents(tmp_path: Path) -> None:
    rows = [{"title": "A", "text": "One two."}, {"title": "", "text": "Three."}]
    write(tmp_path / "a.jsonl", *rows)
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as packed:
        packed.writelines(json.dumps(row) + "\n\n" for row in rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    expected = (Document("A", "One two."), Document("", "Three."))
    corpora = [read_corpus([str(tmp_path / name)]) for name in ("a.jsonl", "b.jsonl.gz", "c.parquet")]
    assert all(corpus.documents == expected for corpus in corpora)
    assert read_corpus([str(tmp_path)]).documents == expected  # the folder: duplicates count once


def test_a_text_column_of_another_name_and_where_a_document_is_from(tmp_path: Path) -> None:
    rows = [{"body": "One.", "url": "here", "licence": "CC0"}, {"body": "Two.", "source": "there"}]
    corpus = read_corpus([write(tmp_path / "a.jsonl", *rows)], "body")
    assert corpus.documents == (Document("", "One.", "here", "CC0"), Document("", "Two.", "there", ""))
    with pytest.raises(CorpusError, match="'text' is missing, found body"):
        read_corpus([str(tmp_path / "a.jsonl")])


def test_several_corpora_are_one(tmp_path: Path) -> None:
    questions = write(tmp_path / "q.jsonl", QUESTION)
    more = write(tmp_path / "more.jsonl", {"text": "Another."})
    corpus = read_corpus([questions, more])
    assert corpus.documents == (Document("T", "It was in 1901."), Document("", "Another."))
    assert corpus.identity != read_corpus([more, questions]).identity


def test_the_identity_is_of_the_rows_not_of_the_path(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one.jsonl", QUESTION), write(tmp_path / "other.jsonl", QUESTION)
    assert read_corpus([one]).identity == read_corpus([other]).identity


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "x"}, r"line 1: expected fields .*'text' is missing, found query"),
        ({"question": "x", "answers": ["a"]}, r"line 1: .*'ctxs' is missing"),
        ({**QUESTION, "answers": "1901"}, r"line 1: expected answers to be a list, got str '1901'"),
        ({**QUESTION, "answers": []}, r"line 1: expected answers to be a list of texts"),
        ({**QUESTION, "answers": [1901]}, r"line 1: expected answers to be a list of texts, got list \[1901\]"),
        ({**QUESTION, "ctxs": []}, r"line 1: expected ctxs with exactly one document .* found 0 among 0"),
        ({**QUESTION, "ctxs": [GOLD, GOLD]}, r"found 2 among 2"),
        ({**QUESTION, "ctxs": [{"isgold": True, "text": ""}]}, r"expected text to hold something"),
        ({**QUESTION, "answers": ["!!!"]}, r"expected answers to hold letters or digits"),
        ({**QUESTION, "question": None}, r"expected question to be a text, got NoneType None"),
        ({"text": 7}, r"expected text to be a text, got int 7"),
        ({"text": " "}, r"expected text to hold something"),
        ({"text": "half \ud800"}, r"expected text to be Unicode"),
        ({**QUESTION, "question": " "}, r"expected question to hold something"),
        ({**QUESTION, "answers": ["\ud800"]}, r"expected answers to be a list of texts"),
        ({"text": "x", "title": [7]}, r"expected title to be a text, got list \[7\]"),
        ([1], r"line 1: expected a JSON object, got list \[1\]"),
    ],
)
def test_bad_rows_say_where_and_what(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read_corpus([write(tmp_path / "bad.jsonl", row)])
    if isinstance(row, dict):  # beside rows that can be used, it is passed over, counted and said
        corpus = read_corpus([write(tmp_path / "mixed.jsonl", QUESTION, row)])
        assert [question.text for question in corpus.questions] == ["when?"]
        (note,) = corpus.passed.notes()
        assert re.search(r"^rows that cannot be used, passed over: 1 \(.*mixed.jsonl, line 2", note)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", "it is empty"),
        ("blank.txt", b"\n\n \n", "it is empty"),
        ("latin.jsonl", b'{"text": "caf\xe9"}\n', r"line 1: expected UTF-8, found the byte 0xe9 at position 13"),
        ("latin.txt", b"caf\xe9", r"expected UTF-8, found the byte 0xe9 at position 3"),
        ("broken.jsonl", b'{"text": \n', r"line 1: expected one JSON object a line"),
        ("broken.jsonl.gz", b"not gzip", "cannot be read"),
        ("cut.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 1000, mtime=0)[:-20], "cannot be read"),
        ("deep.jsonl", b"[" * 100000, "line 1: expected one JSON object a line"),
        ("long.jsonl", b'{"text": ' + b"1" * 5000 + b"}", "line 1: expected one JSON object a line"),
        ("broken.parquet", b"PAR1 not really", "expected a Parquet file"),
    ],
)
def test_bad_files_say_which_and_why(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message) as caught:
        read_corpus([str(tmp_path / name)])
    assert name in str(caught.value)


def test_what_is_neither_file_nor_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither file nor folder"):
        read_corpus([str(tmp_path / "absent.jsonl")])
    with pytest.raises(
        UsageError, match=r"a folder of them, or a Hub data set that can be reached, got 'nobody/nothing'"
    ):
        read_corpus(["nobody/nothing"])
    with pytest.raises(CorpusError, match="in the folder"):
        read_corpus([str(tmp_path)])
    (tmp_path / "x.odt").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"expected a file \.jsonl"):
        read_corpus([str(tmp_path / "x.odt")])


def test_real_rows_of_the_other_tasks_are_questions_too() -> None:
    chained = read_corpus([str(CORPORA["musique_synth"])]).questions
    assert {len(question.hops) for question in chained} >= {2, 3, 4}
    assert all(len(question.own) + len(set(question.gold)) <= 20 for question in chained)
    insights = read_corpus([str(CORPORA["summhay_synth"])])
    assert len(insights.documents) == 60
    assert all(len(q.gold) + len(q.own) == 60 for q in insights.questions)


@given(st.lists(st.text(st.sampled_from("ab \n"), max_size=300)))
def test_passages_are_the_text_cut_at_paragraph_ends(parts: list[str]) -> None:
    text = "\n\n".join(parts)
    cut = list(split_passages(text))
    assert " ".join(cut).split() == text.split()
    paragraphs = [p.strip() for p in text.split("\n\n") if p.strip()]
    assert sum(len(passage.split("\n")) >= 1 for passage in cut) <= max(len(paragraphs), 1)
    assert all(len(passage.split()) >= 100 for passage in cut[:-1])


@pytest.mark.parametrize(
    ("answers", "text", "found"),
    [
        (["10"], "in 1066, 10 men", "10"),
        (["10"], "in 1066", None),
        (["the king", "King"], "a King and the king", "the king"),
        (["KING"], "a King", "King"),
        (["a.b"], "axb a.b", "a.b"),
        (["The"], "The end", None),
        (["(x"], "see (x)", "(x"),
        (["istanbul"], "\u0130stanbul", None),
    ],
)
def test_an_answer_is_found_as_whole_words(answers: list[str], text: str, found: str | None) -> None:
    span = find_answer_span(answers, text)
    assert (text[span.start : span.end] if span else None) == found
    assert found is None or mentions(comparable(text), comparables(answers))


def test_a_long_paragraph_is_cut_at_sentence_ends() -> None:
    sentences = [f"Sentence {i} has exactly six words." for i in range(5000)]
    cut = list(split_passages(" ".join(sentences)))
    assert all(100 <= len(passage.split()) <= 300 and passage.endswith("words.") for passage in cut[:-1])
    assert " ".join(cut) == " ".join(sentences)


def test_paragraphs_of_musique_are_known_by_their_idx(tmp_path: Path) -> None:
    with gzip.open(CORPORA["musique_synth"]) as lines:
        row = json.loads(next(lines))
    turned = {**row, "paragraphs": row["paragraphs"][::-1], "answer": f" {row['answer']} "}
    one, other = (read_corpus([write(tmp_path / f"{i}.jsonl", r)]) for i, r in enumerate((row, turned)))
    golds = [[corpus.documents[hop.gold] for hop in corpus.questions[0].hops] for corpus in (one, other)]
    assert golds[0] == golds[1]
    assert one.questions[0].hops[-1].answers == other.questions[0].hops[-1].answers


def test_what_a_topic_says_twice_counts_once(tmp_path: Path) -> None:
    document = {"document_text": "Text.", "insights_included": ["1", "1"]}
    topic = {"documents": [document, document], "subtopics": [{"insights": [{"insight": "Told.", "insight_id": "1"}]}]}
    (question,) = read_corpus([write(tmp_path / "topic.jsonl", topic)]).questions
    assert question.gold == (0,)


def test_a_text_column_is_never_guessed(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", {"text": "Text.", "body": "Body."})
    (tmp_path / "note.txt").write_text("Note.")
    texts = [document.text for document in read_corpus([rows, str(tmp_path / "note.txt")], "body").documents]
    assert texts == ["Body.", "Note."]
    with pytest.raises(CorpusError, match=r"'boddy' is missing.*--corpus-text-column"):
        read_corpus([rows], "boddy")


def test_parquet_with_broken_text_says_so(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    pq.write_table(pa.table({"text": broken}), tmp_path / "broken.parquet")
    with pytest.raises(CorpusError, match=r"of .*broken.parquet row 1"):
        read_corpus([str(tmp_path / "broken.parquet")])


def test_a_context_that_cannot_be_used_costs_no_question(tmp_path: Path) -> None:
    corpus = read_corpus(
        [write(tmp_path / "q.jsonl", {**QUESTION, "ctxs": [{"text": " "}, GOLD, "x", {"text": "B."}]})]
    )
    (question,) = corpus.questions
    assert corpus.documents[question.gold[0]].text == GOLD["text"]
    assert [corpus.documents[i].text for i in question.own] == ["B."]
    assert corpus.passed.notes()[0].startswith("documents of questions that cannot be used, passed over: 2 ")


def test_an_answer_of_signs_alone_is_dropped(tmp_path: Path) -> None:
    corpus = read_corpus([write(tmp_path / "q.jsonl", {**QUESTION, "answers": ["!!!", "1901"]})])
    assert corpus.questions[0].hops[0].answers == ("1901",)


def test_a_number_is_a_title_and_the_same_text_below_another_title_is_one_document(tmp_path: Path) -> None:
    rows = [
        {"title": 1984, "text": "One  two."},
        {"title": "Other", "text": "One two."},
        {"title": "Other", "text": "Three."},
    ]
    corpus = read_corpus([write(tmp_path / "a.jsonl", *rows)])
    assert corpus.documents == (Document("1984", "One  two."), Document("Other", "Three."))


def test_files_that_people_have(tmp_path: Path) -> None:
    """JSON Lines named .json, tables, packed texts and HTML hold the same documents."""
    write(tmp_path / "lines.json", {"title": "A", "text": "One."}, {"title": "B", "text": 'Two, "quoted".'})
    (tmp_path / "t.csv").write_text('\ufefftitle,text\r\nA,One.\r\nB,"Two, ""quoted""."\r\n', encoding="utf-8")
    (tmp_path / "t.tsv").write_text('title\ttext\nA\tOne.\nB\t"Two, ""quoted""."\n', encoding="utf-8")
    with pa.CompressedOutputStream(pa.OSFile(str(tmp_path / "p.jsonl.zst"), "wb"), "zstd") as packed:
        packed.write((tmp_path / "lines.json").read_bytes())
    expected = (Document("A", "One."), Document("B", 'Two, "quoted".'))
    for name in ("lines.json", "t.csv", "t.tsv", "p.jsonl.zst"):
        assert read_corpus([str(tmp_path / name)]).documents == expected, name


def test_html_is_read_as_a_reader_sees_it(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        "<html><head><title>The\n page</title><style>p {}</style></head><body><script>if (a < b) {}</script><h1>Top</h1>"
        "<p>One &amp; <b>two</b>.<br>Three.</p><ul><li>Four</li></ul></body></html>"
    )
    (document,) = read_corpus([str(tmp_path / "page.html")]).documents
    assert document == Document("The page", "Top\nOne & two.\nThree.\nFour")


def test_front_matter_is_read_and_not_left_in_the_text(tmp_path: Path) -> None:
    (tmp_path / "n.md").write_text("---\ntitle: A note\nlicense: CC0\nsource: here\ntags: [a]\n---\n# Note\n\nText.\n")
    assert read_corpus([str(tmp_path / "n.md")]).documents == (Document("A note", "# Note\nText.", "here", "CC0"),)
    (tmp_path / "rule.md").write_text("---\n\nText after a rule: with a colon.\n\n---\n\nMore.\n")
    assert "Text after a rule" in read_corpus([str(tmp_path / "rule.md")]).documents[0].text


def test_a_block_of_code_is_not_cut() -> None:
    code = "```python\n" + "\n\n".join(f"line {i}. Said" for i in range(400)) + "\n```"
    cut = list(split_passages(f"{'word ' * 120}.\n\n{code}\n\nAfter."))
    assert any(code in passage for passage in cut)


def test_text_without_spaces_becomes_several_passages() -> None:
    sentence = "\u4ed6\u559c\u6b22\u65e7\u5730\u56fe\u548c\u65e7\u4e66\u3002"
    cut = list(split_passages(sentence * 300))
    assert len(cut) > 10
    assert "".join(cut) == sentence * 300
    assert all(passage.endswith("\u3002") and 150 <= len(passage) <= 620 for passage in cut[:-1])
    thai = "\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e" * 400
    assert all(len(passage) <= 620 for passage in split_passages(thai))


def test_a_folder_is_read_without_what_is_no_content(tmp_path: Path) -> None:
    for name in ("a.txt", ".hidden.txt", ".obsidian/b.md", "__MACOSX/c.txt", "paper.odt", "empty.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("" if name == "empty.txt" else f"Text of {name}.")
    corpus = read_corpus([str(tmp_path)])
    assert [document.text for document in corpus.documents] == ["Text of a.txt."]
    assert corpus.passed.notes() == [
        f"files of another suffix (.odt), ignored: 1 ({tmp_path / 'paper.odt'})",
        f"empty files, passed over: 1 ({tmp_path / 'empty.txt'})",
    ]


def test_a_path_whose_folder_is_there_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing asks a Hub, which would take its time to say no."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    monkeypatch.setattr("datasets.load_dataset", lambda *args, **kwargs: pytest.fail("a Hub was asked"))
    with pytest.raises(UsageError, match="'data/absent' is neither file nor folder"):
        read_corpus(["data/absent"])


@pytest.mark.parametrize(
    "front",
    [
        "---\ndate: 2024-13-45\ntitle: T\n---\n",
        "---\n0b_: 1\n---\n",
        "---\ntitle: foo: bar\n---\n",
        "+++\ntitle = 'T'\n+++\n",
    ],
)
def test_front_matter_that_does_not_parse_is_text(tmp_path: Path, front: str) -> None:
    (tmp_path / "n.md").write_text(f"{front}Text.\n")
    (document,) = read_corpus([str(tmp_path / "n.md")]).documents
    assert document.title == "n"
    assert document.text.endswith("Text.")


def test_front_matter_may_hold_lists_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "v1.2 notes.md").write_text("---\ntitle: 2024\nlicense: [MIT, CC0]\nsource:\nurl: there\n---\nText.\n")
    assert read_corpus([str(tmp_path)]).documents == (Document("2024", "Text.", "there", "MIT, CC0"),)
    (tmp_path / "v1.2 notes.md").write_text("Text.")
    assert read_corpus([str(tmp_path)]).documents[0].title == "v1.2 notes"


def test_a_page_without_a_body_is_read(tmp_path: Path) -> None:
    (tmp_path / "p.HTML").write_text("<html><head><title>T</title><p>One.<svg><title>Icon</title></svg><p>Two.")
    assert read_corpus([str(tmp_path)]).documents == (Document("T", "One.\nTwo."),)


def test_a_line_that_does_not_parse_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "One."}\nnull\n{"text": \n{"text": "caf\xe9"}\n{"text": "Two."}\n')
    (tmp_path / "empty.json").write_text(" ")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    corpus = read_corpus([str(tmp_path)])
    assert [document.text for document in corpus.documents] == ["One.", "Two."]
    assert [note.partition(" (")[0] for note in corpus.passed.notes()] == [
        "rows that cannot be used, passed over: 3",
        "empty files, passed over: 1",
        "files that cannot be read to their end: 1",
    ]


def test_a_table_with_too_many_cells_in_a_row_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("title,text\nA,hello, world\nB,whole\n")
    corpus = read_corpus([str(tmp_path / "t.csv")])
    assert [document.text for document in corpus.documents] == ["whole"]
    assert "row 1: expected as many cells as the first line has" in corpus.passed.notes()[0]
    (tmp_path / "u.csv").write_text('title,text\nA,"unclosed\nB,two\n')
    with pytest.raises(CorpusError, match="does not parse"):
        read_corpus([str(tmp_path / "u.csv")])


def test_a_broken_topic_is_passed_over_whole(tmp_path: Path) -> None:
    document = {"document_text": "Text.", "insights_included": ["1"]}
    insights = [{"insight": "Told.", "insight_id": "1"}, {"insight_id": "1"}]
    broken = {"documents": [document], "subtopics": [{"insights": insights}]}
    whole = {"documents": [document], "subtopics": [{"insights": insights[:1]}]}
    corpus = read_corpus([write(tmp_path / "t.jsonl", broken, whole)])
    assert len(corpus.questions) == 1
    assert len(corpus.passed.notes()) == 1


def test_a_chained_question_needs_an_answer_and_indices_that_say_something(tmp_path: Path) -> None:
    with gzip.open(CORPORA["musique_synth"]) as lines:
        row = json.loads(next(lines))
    signs = read_corpus([write(tmp_path / "a.jsonl", {**row, "answer": "!!!", "answer_aliases": ["Chk"]})])
    assert signs.questions[0].hops[-1].answers == ("Chk",)
    with pytest.raises(CorpusError, match=r"expected idx to be a number, got list \[1\]"):
        read_corpus(
            [write(tmp_path / "b.jsonl", {**row, "paragraphs": [{**p, "idx": [1]} for p in row["paragraphs"]]})]
        )
