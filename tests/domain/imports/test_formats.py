"""What each format is read into, and what is said of rows that cannot be taken."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BadInputError
from app.domain.imports.formats import FORMATS, looks_like, read
from app.domain.imports.items import Item, Log, PairItem, PromptItem, ResponseItem, VerdictItem
from app.domain.imports.tables import Source
from app.domain.terms import Choice, VoterKind


def items(format_name: str, *files: Any, log: Log | None = None) -> list[Item]:
    """What files hold: each a list of rows, or (name, rows), or (name, text)."""
    sources = []
    for file in files:
        name, content = file if isinstance(file, tuple) else ("folder/file.jsonl", file)
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        sources.append(Source(name, text.encode("utf-8", "surrogatepass").splitlines(keepends=True)))
    return list(read(format_name, sources, log or Log()))


def verdicts(found: list[Item]) -> list[VerdictItem]:
    return [item for item in found if isinstance(item, VerdictItem)]


def short(found: list[Item]) -> list[tuple[object, ...]]:
    return [(one.a, one.b, one.voter, one.choice, one.order_known) for one in verdicts(found)]


BATTLE = {"question_id": "q1", "model_a": "x", "model_b": "y", "winner": "model_b", "judge": "user_1"}


def test_battles_with_every_label_and_with_labels_that_nobody_knows() -> None:
    log = Log()
    labels = ("model_a", "model_b", "tie", "tie (bothbad)", "Model A", None, True, "")
    found = items(
        "chatbot-arena", [{**BATTLE, "question_id": f"q{n}", "winner": w} for n, w in enumerate(labels)], log=log
    )
    assert [one.choice for one in verdicts(found)] == [Choice.A, Choice.B, Choice.TIE, Choice.BOTH_BAD]
    assert all(one.order_known and one.kind is VoterKind.RATER for one in verdicts(found))
    assert [problem.line for problem in log.problems if not problem.taken] == [5, 6, 7, 8]
    assert "the winner 'Model A' is unknown" in str(log.problems[0])


def test_conversations_of_battles_become_prompt_and_texts() -> None:
    turns = [
        {"role": "user", "content": "One?"}, {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?"}, {"role": "assistant", "content": "2"},
    ]  # fmt: skip
    found = items("chatbot-arena", [{**BATTLE, "conversation_a": turns, "conversation_b": turns[:2]}])
    assert next(item for item in found if isinstance(item, PromptItem)).messages == (("user", "One?"),)
    assert [item.text for item in found if isinstance(item, ResponseItem)] == ["[1] 1\n\n[2] 2", "1"]


def test_the_csv_of_the_55000_with_nulls_and_halves_of_surrogate_pairs() -> None:
    log = Log()
    head = "id,model_a,model_b,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n"
    good = '7,x,y,"[""Hi""]","[""A\\ud83d"", null]","[""B""]",0,0,1\n'
    bad = '8,x,y,"[""Hi""]","[""A""]","[""B""]",1,0,1\n'
    found = items("chatbot-arena", ("folder/train.csv", head + good + bad), log=log)
    assert short(found) == [("x", "y", "people", Choice.TIE, True)]
    assert [item.text for item in found if isinstance(item, ResponseItem)] == [
        "[1] A\N{REPLACEMENT CHARACTER}\n\n[2] ",
        "B",
    ]
    assert [(problem.line, problem.taken) for problem in log.problems] == [(2, True), (2, True), (2, True), (3, False)]


def test_alpaca_eval_weights_ties_and_people() -> None:
    log = Log()
    row = {"instruction": "Sing.", "output_1": "la", "output_2": "lo", "generator_1": "base", "generator_2": "new"}
    given = [(1.0, "gpt"), (2, "gpt2"), (1.5, "gpt3"), (0, "gpt4"), (1.75, "gpt5"), (None, "gpt6"), (math.nan, "gpt7"),
             (2, 13), (1.2, 13), (3, "gpt"), ("2", "gpt"), (True, "gpt")]  # fmt: skip
    found = items("alpaca-eval", [{**row, "preference": p, "annotator": who} for p, who in given], log=log)
    assert [(one.choice, one.score, one.kind) for one in verdicts(found)] == [
        (Choice.A, None, VoterKind.JUDGE), (Choice.B, None, VoterKind.JUDGE), (Choice.TIE, None, VoterKind.JUDGE),
        (Choice.TIE, None, VoterKind.JUDGE), (Choice.B, 0.75, VoterKind.JUDGE), (None, None, VoterKind.JUDGE),
        (None, None, VoterKind.JUDGE), (Choice.B, None, VoterKind.RATER),
    ]  # fmt: skip
    assert {(one.a, one.b, one.order_known) for one in verdicts(found)} == {("base", "new", False)}
    assert [problem.line for problem in log.problems] == [9, 10, 11, 12]


def test_mt_bench_judgments_in_both_spellings_say_the_same() -> None:
    positions = {"question_id": 81, "model_a": "x", "model_b": "y", "judge_id": "j", "turn": 2}
    games = {"question_id": 81, "model_1": "x", "model_2": "y", "judge": ["j", "pair"], "turn": 2}
    for ab, ba, g1, g2 in (
        ("A", "A", "model_1", "model_2"), ("A", "B", "model_1", "model_1"), ("tie", "B", "tie", "model_1"),
        ("error", "A", "error", "model_2"),
    ):  # fmt: skip
        one = verdicts(items("mt-bench", [{**positions, "winner_ab": ab, "winner_ba": ba}]))
        two = verdicts(items("mt-bench", [{**games, "g1_winner": g1, "g2_winner": g2}]))
        assert [(v.prompt, v.a, v.b, v.choice, v.order_known) for v in one] == [
            (v.prompt, v.a, v.b, v.choice, v.order_known) for v in two
        ]
        assert one[0].prompt == "81-turn-2"


def test_the_turn_of_mt_bench_is_part_of_the_prompt() -> None:
    questions = [{"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]}]
    answers = [{"question_id": 81, "model_id": "x", "choices": [{"index": 0, "turns": ["one", "two"]}]}]
    votes = [{"question_id": 81, "model_a": "x", "model_b": "y", "winner": "model_a", "judge": "expert_1", "turn": t}
             for t in (1, 2)]  # fmt: skip
    found = items("mt-bench", votes, answers, questions)
    prompts = {item.key: item.messages for item in found if isinstance(item, PromptItem)}
    assert prompts["81-turn-1"] == (("user", "Write."),)
    assert prompts["81-turn-2"] == (("user", "Write."), ("user", "Again."))
    texts = {item.prompt: item.text for item in found if isinstance(item, ResponseItem)}
    assert (texts["81-turn-1"], texts["81-turn-2"]) == ("one", "[1] one\n\n[2] two")
    assert [one.prompt for one in verdicts(found)] == ["81-turn-1", "81-turn-2"]


def test_the_baseline_is_a_in_the_first_game_of_arena_hard() -> None:
    log = Log()
    games = [{"score": "A>>B", "judgment": {"answer": "[[A>>B]]"}}, {"score": "B=A", "judgment": ""}]
    rows = [
        {"uid": "u", "model": "new", "judge": "j", "baseline": "old", "games": games},
        {"uid": "v", "model": "new", "judge": "j", "baseline": "old", "games": [{"score": None}, None]},
        {"uid": "w", "model": "new", "judge": "j", "baseline": "old", "games": [{"score": "A>C"}, None]},
    ]
    found = verdicts(items("arena-hard", rows, log=log))
    assert [(one.a, one.b, one.choice, one.said) for one in found] == [
        ("old", "new", Choice.A, "[[A>>B]]"), ("new", "old", Choice.TIE, "B=A"),
        ("old", "new", None, ""), ("new", "old", None, ""),
    ]  # fmt: skip
    assert [problem.line for problem in log.problems] == [3]


def test_llmfao_votes_know_what_stood_left() -> None:
    models = [{"id": 5, "api_id": "o/x", "name": "X"}, {"id": 6, "api_id": "o/y", "name": "Y"}]
    pairs = [{"id": 0, "prompt": 8, "text": "Hi?", "type": "chat", "model_x": 5, "result_x": "", "model_y": 6,
              "result_y": None}]  # fmt: skip
    votes = "id,prompt,model_x,model_y,worker,winner,left,right\n0,8,5,6,3,left,Y,X\n0,8,5,6,4,none,Y,X\n"
    machine = "id,prompt,model_x,model_y,winner,left,right\n0,8,5,6,tie,X,Y\n"
    log = Log()
    found = items(
        "llmfao", ("f/crowd-comparisons.csv", votes), ("f/gpt4-crowd-comparisons.csv", machine), models, pairs, log=log
    )
    assert short(found) == [("Y", "X", "worker 3", Choice.A, True), ("X", "Y", "gpt4", Choice.TIE, True)]
    assert [item.text for item in found if isinstance(item, ResponseItem)] == ["", ""]
    assert [item for item in found if isinstance(item, PairItem)] == [PairItem("8", "X", "Y")]
    assert [problem.line for problem in log.problems if not problem.taken] == [3]
    assert sum(problem.taken for problem in log.problems) == 3  # two empty texts, one of which was no text
    with pytest.raises(BadInputError, match=r"Give the file models\.jsonl"):
        items("llmfao", pairs)


def test_pandalm_vocabularies_and_booleans() -> None:
    log = Log()
    row = {"idx": 1, "cmp_key": "x_y", "instruction": " ", "input": "Honest?", "response1": True, "response2": "no"}
    pairs = [{**row, "annotator1": 0, "annotator2": 1, "annotator3": 2}, {**row, "idx": 2, "annotator1": 7}]
    replies = [{"idx": 1, "gpt_result": "Tie"}, {"idx": 1, "gpt_result": "garbage"}, {"idx": 9, "gpt_result": "1"}]
    found = items("pandalm", pairs, replies, log=log)
    assert [(one.voter, one.choice) for one in verdicts(found)] == [
        ("annotator1", Choice.TIE), ("annotator2", Choice.A), ("annotator3", Choice.B), ("gpt", Choice.TIE),
        ("gpt", None),
    ]  # fmt: skip
    assert [item.text for item in found if isinstance(item, ResponseItem)] == ["true", "no"]
    assert [problem.line for problem in log.problems if not problem.taken] == [2, 3]


def test_equal_rows_of_pandalm_are_different_pairs() -> None:
    row = {"cmp_key": "x_y", "instruction": "Go.", "input": "", "response1": "a", "response2": "b", "annotator1": 1}
    found = items("pandalm", [{**row, "idx": 1}, {**row, "idx": 2}, {**row, "idx": 3, "response1": "c"}])
    assert sorted(item.replicate for item in found if isinstance(item, PairItem)) == [0, 1, 2]


def test_llmbar_winners_name_the_output_in_both_orders() -> None:
    result = {"swap = False": {"completion": ["Output (a)", "stop"], "winner": "1"},
              "swap = True": {"completion": ["Output (a)", "stop"], "winner": "2"}}  # fmt: skip
    row = {"input": "Go.", "output_1": "a", "output_2": "b", "label": 1}
    log = Log()
    found = items("llmbar", ("GPT-4/result.json", [{**row, "results": [result]}]), [row, {**row, "label": 3}], log=log)
    assert short(found) == [
        ("output_1", "output_2", "label", Choice.A, False),
        ("output_1", "output_2", "GPT-4", Choice.A, True),
        ("output_2", "output_1", "GPT-4", Choice.A, True),
    ]
    assert log.refused == 1


def test_plain_rows_with_the_words_of_other_tools() -> None:
    rows = [
        {"prompt": "Hi?", "checkpoint_a": "x", "checkpoint_b": "y", "response_a": "1", "response_b": "2", "winner": "a",
         "rater": "ann", "order_known": True, "seconds": 2.5, "cast_at": "2026-01-31T12:00:00+02:00"},
        {"question": "Hi?", "model_a": "x", "model_b": "y", "winner": "y", "judge": "j", "reply": "[[B]]"},
        {"prompt": "Hi?", "left": "x", "right": "y", "winner": "left"},
        {"prompt": "Hi?", "model_a": "x", "model_b": "y", "winner": "unparsed", "judge": "k"},
        {"prompt": "Hi?", "model_a": "x", "model_b": "y", "score": 0.25, "judge": "l"},
        {"prompt": "Hi?", "model_a": "x", "model_b": "y"},
    ]  # fmt: skip
    found = items("plain", rows)
    assert [(one.voter, one.choice, one.score, one.kind) for one in verdicts(found)] == [
        ("ann", Choice.A, None, VoterKind.RATER), ("j", Choice.B, None, VoterKind.JUDGE),
        ("people", Choice.A, None, VoterKind.RATER), ("k", None, None, VoterKind.JUDGE),
        ("l", Choice.A, 0.25, VoterKind.JUDGE),
    ]  # fmt: skip
    assert len({one.prompt for one in verdicts(found)}) == 1
    assert verdicts(found)[0].cast_at is not None
    assert sum(isinstance(item, PairItem) for item in found) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"winner": "A wins"}, {"winner": 1}, {"winner": "unparsed"}, {"checkpoint_b": "x"}, {"checkpoint_b": None},
        {"score": 2, "judge": "j"}, {"score": 0.3}, {"score": "much"}, {"kind": "person"}, {"order_known": "perhaps"},
        {"cast_at": "yesterday"}, {"domain": "elsewhere"}, {"checkpoint_a": "x" * 101},
    ],
)  # fmt: skip
def test_a_plain_row_that_cannot_be_taken_is_never_a_tie(changed: dict[str, object]) -> None:
    log = Log()
    row = {"prompt": "Hi?", "checkpoint_a": "x", "checkpoint_b": "y", "winner": "a"}
    found = items("plain", [row, {**row, **changed}], log=log)
    assert len(verdicts(found)) == 1
    assert [(problem.line, problem.taken) for problem in log.problems] == [(2, False)]


def test_a_file_of_another_format_is_told_which_it_looks_like() -> None:
    with pytest.raises(BadInputError, match=r"That is no file of llmbar\. It looks like chatbot-arena"):
        items("llmbar", [BATTLE])
    with pytest.raises(BadInputError, match=r"There is no format 'elo'\. Known are arena,"):
        items("elo", [BATTLE])
    with pytest.raises(BadInputError, match="That format has questions, answers, judgments"):
        items("arena-hard", [{"unknown": 1}])
    assert looks_like(frozenset({"unknown"})) == ""
    assert list(FORMATS)[-1] == "plain"


def test_the_own_format_refuses_lines_that_are_not_its_own() -> None:
    log = Log()
    head = {"type": "batch", "format": "brie-arena/1", "design": "star"}
    verdict = {"type": "verdict", "prompt": "p", "replicate": 0, "a": "x", "b": "y", "voter": "v", "kind": "rater",
               "choice": "a", "order_known": True}  # fmt: skip
    bad = [
        {"type": "song"}, {**verdict, "choice": "left"}, {**verdict, "choice": None}, {**verdict, "score": 0.3},
        {**verdict, "kind": "judge", "score": 0.8}, {**verdict, "b": "x"}, {**verdict, "replicate": -1},
        {**verdict, "kind": "script"}, {**verdict, "seconds": -1}, {**verdict, "cast_at": "2026-01-31T12:00:00"},
        {**verdict, "voter": 3}, {**verdict, "a": "x\0"}, {"type": "verdict"}, {**verdict, "tags": ["loud"]},
        {"type": "prompt", "key": "p", "category": "c", "domain": "in_domain", "messages": ["no"]},
    ]  # fmt: skip
    found = items("arena", [head, verdict, *bad], log=log)
    assert len(verdicts(found)) == 1
    assert [problem.line for problem in log.problems] == list(range(3, 3 + len(bad)))
    with pytest.raises(BadInputError, match="has the format 'brie-arena/9'"):
        items("arena", [{**head, "format": "brie-arena/9"}])


ROWS: dict[str, list[dict[str, Any]]] = {
    "alpaca-eval": [{"instruction": "Do.", "output_1": "a", "output_2": "b", "generator_1": "x", "generator_2": "y",
                     "preference": 1, "annotator": "g"}, {"instruction": "Do.", "output": "a", "generator": "x"}],
    "mt-bench": [
        {"question_id": 1, "model_a": "x", "model_b": "y", "winner_ab": "A", "winner_ba": "B", "judgment_ab": "r"},
        {"question_id": 1, "model_1": "x", "model_2": "y", "g1_winner": "tie", "g2_winner": "tie", "judge": ["j", "p"]},
        {"question_id": 1, "model_a": "x", "model_b": "y", "winner": "model_a", "judge": "expert_0", "turn": 1,
         "conversation_a": [{"role": "user", "content": "q"}]},
        {"question_id": 1, "model_id": "x", "choices": [{"turns": ["a"]}]},
        {"question_id": 1, "turns": ["q"], "category": "c"},
    ],
    "chatbot-arena": [
        {**BATTLE, "tstamp": 1.5, "language": "English", "conversation_a": [{"role": "user", "content": "q"}]},
        {"id": 1, "model_a": "x", "model_b": "y", "prompt": '["q"]', "response_a": '["a"]', "response_b": "[]",
         "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0},
    ],
    "arena-hard": [
        {"uid": "u", "model": "x", "judge": "j", "baseline": "y", "category": "c", "games": [{"score": "A>B"}, None]},
        {"uid": "u", "model": "x", "messages": [{"role": "assistant", "content": {"answer": "a"}}]},
        {"uid": "u", "prompt": "q", "category": "c"},
    ],
    "llmfao": [
        {"id": 5, "api_id": "o/x", "name": "X"},
        {"id": 0, "prompt": 8, "text": "q", "type": "t", "model_x": 5, "result_x": "a", "model_y": 5, "result_y": "b"},
        {"id": 0, "prompt": 8, "model_x": 5, "model_y": 6, "worker": 1, "winner": "left", "left": "X", "right": "Y"},
    ],
    "pandalm": [
        {"idx": 1, "cmp_key": "x_y", "instruction": "i", "input": "", "response1": "a", "response2": "b",
         "annotator1": 1},
        {"idx": 1, "gpt_result": "1", "gpt_reason": "r"},
    ],
    "llmbar": [{"input": "i", "output_1": "a", "output_2": "b", "label": 1, "results": [
        {"swap = False": {"completion": ["Output (a)"], "winner": "1"}, "swap = True": {"winner": "1"}}]}],
    "plain": [{"prompt": "q", "checkpoint_a": "x", "checkpoint_b": "y", "winner": "a", "rater": "v", "score": 1,
               "category": "c", "domain": "in_domain", "seconds": 1, "order_known": True, "kind": "rater"}],
    "arena": [
        {"type": "batch", "format": "brie-arena/1", "design": "star"},
        {"type": "verdict", "prompt": "p", "replicate": 0, "a": "x", "b": "y", "voter": "v", "kind": "judge",
         "choice": "b", "order_known": True, "score": 0.75, "tags": [], "seconds": 1.0, "simulated": False},
        {"type": "prompt", "key": "p", "category": "c", "domain": "in_domain", "messages": []},
        {"type": "response", "prompt": "p", "replicate": 0, "checkpoint": "x", "text": "a"},
        {"type": "judge", "name": "v", "mode": "one"},
    ],
}  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(data=st.data(), format_name=st.sampled_from(sorted(ROWS)))
def test_no_value_in_any_field_breaks_a_reader(data: st.DataObject, format_name: str) -> None:
    log, files = Log(), []
    for row in ROWS[format_name]:
        field = data.draw(st.sampled_from(sorted(row)))
        changed = {**row, field: data.draw(ODD)} if data.draw(st.booleans()) else row
        files.append([row, changed, {name: value for name, value in row.items() if name != field}])
    if format_name == "arena":
        files = [[row for file in files for row in file]]
    try:
        found = items(format_name, *files, log=log)
    except BadInputError as error:
        assert "has the format" in str(error)  # noqa: PT017 (a version of the own format that is none)
        return
    assert all(one.a != one.b for one in verdicts(found))
    assert all(one.choice is not None or one.kind is VoterKind.JUDGE for one in verdicts(found))
