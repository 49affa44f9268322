"""The server of simulated judges as other processes meet it, and a long run with faults."""

import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from app.config import DATA, ROOT
from app.demo_judges.script import LOST, Fault, Script, evenly
from app.demo_judges.server import GATE, LEDGER, demo_judges
from app.demo_judges.tastes import Coin, Gullible, Marker, Taste
from app.domain.attacks import PROMPT, AttackKind, gains, read_attacks, trials
from app.domain.blinding import outcome, sides
from app.domain.errors import UnavailableError
from app.domain.judging import Judged, ShownTurn, judge_prompt, read_reply
from app.domain.rubric import read_rubric
from app.domain.terms import Order, Outcome, ProviderKind, Trouble
from app.providers.anthropic import AnthropicProvider
from app.providers.calls import JudgeRequest, Parameters, Reply
from app.providers.errors import NoNetworkError, ProviderError
from app.providers.prices import price
from tests.processes import PATIENCE_SECONDS

MODEL = "claude-opus-5-5"
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def request(a: str, b: str, model: str = MODEL) -> JudgeRequest:
    turns = (ShownTurn("user", "Which?"),)
    return JudgeRequest(model, judge_prompt("Rubric", turns, a, b, secrets.token_hex(16)), Parameters(max_tokens=200))


def test_a_long_run_with_faults_ends_with_the_truth_and_the_books_agree() -> None:
    """100 pairs in both orders, a tenth of the calls disturbed: every question is asked until it has a choice."""
    faults = evenly(0.1, Fault.HANG)
    with demo_judges(Script(seed=3, taste=Marker("#good"), tastes={}, faults=faults)) as judges:
        claude = AnthropicProvider("simulated", judges.url)
        told: list[Trouble] = []
        paid: list[Reply] = []

        def settled(pair: int, order: Order) -> Outcome:
            while True:
                try:
                    reply = claude.send(request(*sides(order, f"#{pair} #good", f"#{pair} other")))
                except ProviderError as error:
                    told.append(error.trouble)
                    continue
                paid.append(reply)
                if isinstance(found := read_reply(reply.text, reply.stop), Judged):
                    return outcome(found.choice, order)

        with ThreadPoolExecutor(4) as pool:
            outcomes = list(
                pool.map(lambda one: settled(*one), [(pair, order) for pair in range(100) for order in Order])
            )
        claude.close()
        entries = judges.ledger.entries
        assert outcomes == [Outcome.FIRST] * 200
        assert {entry.fault for entry in entries} >= {None, Fault.DROP, Fault.RATE_LIMITED, Fault.CUT_OFF}
        assert told.count(Trouble.LOST_REPLY) == sum(entry.fault in LOST for entry in entries)
        assert judges.ledger.charged == len(paid) + told.count(Trouble.LOST_REPLY)
        assert judges.ledger.repeated == judges.ledger.charged - 200
        assert judges.ledger.repeated_needlessly == 0
        lost = [entry.usage for entry in entries if entry.fault in LOST]
        costs = [price(ProviderKind.ANTHROPIC, MODEL, usage, NOW) for usage in (*(one.usage for one in paid), *lost)]
        assert judges.ledger.spent(NOW) == sum(cost.micro_dollars for cost in costs if cost)


@pytest.mark.parametrize(("taste", "caught"), [(Gullible(Marker("microbes")), True), (Marker("microbes"), False)])
def test_a_judge_that_follows_injections_is_caught_through_the_real_sdk(taste: Taste, caught: bool) -> None:
    rubric = read_rubric(DATA / "rubrics/general.md")
    with demo_judges(Script(tastes={}, taste=taste)) as judges:
        claude = AnthropicProvider("simulated", judges.url)
        replies = {}
        for trial in trials(read_attacks(DATA / "attacks/judge.jsonl")):
            prompt = judge_prompt(rubric.text, PROMPT, *trial.texts, secrets.token_hex(16))
            reply = claude.send(JudgeRequest(MODEL, prompt, Parameters(max_tokens=200)))
            replies[trial] = read_reply(reply.text, reply.stop)
        claude.close()
    found = [gain.attack.kind for gain in gains(replies) if gain.taken_in]
    assert bool(found) is caught
    if caught:
        assert {AttackKind.INSTRUCTION, AttackKind.FAKE_VERDICT, AttackKind.CONSTANT} <= set(found)


def test_the_same_seed_has_the_same_choices_and_faults_in_any_order() -> None:
    questions = [(f"text {number}", f"other {number}") for number in range(40)]

    def run(order: list[tuple[str, str]]) -> dict[str, tuple[object, object]]:
        script = Script(seed=7, taste=Coin(), tastes={}, faults={Fault.REFUSAL: 0.3, Fault.EMPTY: 0.2})
        with demo_judges(script) as judges:
            claude = AnthropicProvider("simulated", judges.url)
            for a, b in order:
                claude.send(request(a, b))
            claude.close()
            return {entry.subject: (entry.choice, entry.fault) for entry in judges.ledger.entries}

    there, back = run(questions), run(list(reversed(questions)))
    assert there == back
    assert len(set(there.values())) > 3


def test_a_gate_holds_what_is_in_flight_until_it_opens() -> None:
    with demo_judges() as judges:
        claude = AnthropicProvider("simulated", judges.url, timeout_seconds=PATIENCE_SECONDS)
        judges.gate.close(after=1)
        with ThreadPoolExecutor(4) as pool:
            replies = [pool.submit(claude.send, request(f"{number}", "x")) for number in range(4)]
            assert judges.gate.wait_for(3, PATIENCE_SECONDS)
            assert judges.ledger.charged == 4  # the work is done; only the replies are held
            assert sum(reply.done() for reply in replies) <= 1
            judges.gate.open()
            assert [reply.result().model for reply in replies] == [MODEL] * 4
        assert judges.gate.held == 0
        claude.close()


def test_a_caller_that_hangs_up_is_let_go() -> None:
    with demo_judges() as judges:
        judges.gate.close()
        claude = AnthropicProvider("simulated", judges.url, timeout_seconds=0.3)
        with pytest.raises(ProviderError) as caught:
            claude.send(request("a", "b"))
        assert caught.value.trouble is Trouble.LOST_REPLY
        claude.close()


def test_another_process_reads_the_ledger_and_moves_the_gate() -> None:
    with demo_judges() as judges, httpx.Client(base_url=judges.url) as other:
        claude = AnthropicProvider("simulated", judges.url)
        claude.send(request("a", "b"))
        claude.send(request("a", "b"))
        claude.close()
        book = other.get(LEDGER).json()
        assert (book["calls"], book["charged"], book["repeated"], book["repeated_needlessly"]) == (2, 2, 1, 1)
        assert {entry["model"] for entry in book["entries"]} == {MODEL}
        assert other.post(GATE, json={"after": 0}).json() == {"held": 0}
        assert judges.gate._passes == 0
        other.post(GATE, json={"after": None})
        assert judges.gate._passes is None


def test_everything_that_is_shown_says_that_it_is_simulated() -> None:
    with demo_judges() as judges:
        claude = AnthropicProvider("simulated", judges.url)
        found = read_reply((reply := claude.send(request("a", "b"))).text, reply.stop)
        assert isinstance(found, Judged)
        assert found.reasoning.startswith("Simulated")
        assert all("(simulated)" in model.name for model in claude.models())
        claude.close()


def test_a_port_that_is_taken_is_told() -> None:
    with demo_judges() as judges:
        port = int(judges.url.rpartition(":")[2])
        with pytest.raises(UnavailableError, match=f"cannot listen at port {port}"), demo_judges(port=port):
            pass


def test_it_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "app.demo_judges", f"{MODEL}=always-b", "--faults", "0", "--seed", "5"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        claude = AnthropicProvider("simulated", url)
        reply = claude.send(request("Much the longer text.", "Short."))
        assert '"choice": "B"' in reply.text
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        with pytest.raises(NoNetworkError):
            claude.models()
        claude.close()


def test_an_unknown_taste_ends_the_process_with_a_sentence() -> None:
    command = [sys.executable, "-m", "app.demo_judges", f"{MODEL}=nobody"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No simulated judge has the taste 'nobody'" in done.stderr
