"""The engine's texts in Portuguese: all that it can say of its state is known, and what is not known stays as it is."""

import ast
import json
import re
from collections.abc import Iterator

import msgspec
import pytest

from pipeline import log, tls
from pipeline.actor import State
from pipeline.advice import ADVICE
from pipeline.config.http import Http
from pipeline.frame import Frame
from pipeline.journal.tools import Entry
from pipeline.operator import NodeKind, find, names
from pipeline.s7plus import explain
from pipeline.sayings import Form, sayings
from pipeline.source import GAP, Call, calls, trees
from pipeline.units import Secret
from pipeline.web import spoken
from pipeline.web.portuguese import PHRASES, read, say
from tests.parts.engine import data
from tests.parts.web import NOW, Watched, ask

REASONS = {"JournalError", "JournalForeign", "JournalLocked", "JournalUnwritable", "LinkError", "PartFailed"}
REASONS |= {"ReadError", "Refusal", "Refused", Form.MISTAKE}
ON_THE_TERMINAL = (
    "pipeline/commands",
    "pipeline/testing",
    "pipeline/importing",
    "pipeline/config",
    "pipeline/web/page",
)
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
# Parts of what libraries say, by which their errors are told apart: in the tables beside the texts, never shown.
MARKS = tuple(f"{mark}: " for mark, *_ in (*explain._TEXTS, *tls._REASONS))
PORTUGUESE = {"Accept-Language": "pt-BR,pt;q=0.9,en;q=0.5"}


_KEPT = {"trouble", "_trouble", "reason", "_refusal", "_link", "_disk", "stage", "detail", "fate"}
"""Names of what is kept until it is shown as a reason."""


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _name(target: ast.expr) -> str:
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def _said() -> Iterator[str]:
    """Reasons, what to do about them, and mistakes in a graph file."""
    for_the_page = {hint for hints in ADVICE.values() for hint in hints.values()}
    of_values = {text for text, hint in ADVICE["ValueError"].items() if hint.startswith("compare address and type")}
    for each in sayings():
        if each.kind in REASONS and each.where != "testing":
            yield from (each.text, *([] if each.hint in for_the_page else [each.hint]))
        elif each.text in of_values:
            yield each.text


def _written() -> Iterator[str]:
    """Reasons of states that are written where the state is set, events of the log, reasons of drops."""
    for call in calls():
        if call.module.startswith(ON_THE_TERMINAL):
            continue
        if call.name in {"become", "tell", "_tell"}:
            yield from (text.removesuffix(" (and … more)") for text in call.texts(call.argument(1, "reason")))
        elif call.name in LEVELS:
            yield from call.texts(call.argument(0))
            given = (word.value for word in call.call.keywords if word.arg in {"reason", "advice"})
            yield from (text for value in given for text in call.texts(value))
        elif call.name in {"drop", "_give_up", "_dropped"}:
            yield call.text(call.argument(0))
    for module, tree in trees().items():
        for node in ast.walk(tree) if not module.startswith(ON_THE_TERMINAL) else ():
            if isinstance(node, ast.Assign | ast.AnnAssign) and _KEPT & {_name(each) for each in _targets(node)}:
                yield from Call(module, ast.Call(node, [], [], lineno=node.lineno), (tree,)).texts(node.value)


def _unknown(text: str) -> str:
    """What of a text stays English; "" where nothing does."""
    shown = re.sub(f"{GAP}+", GAP, text.removesuffix(f" (status {GAP}{GAP})"))
    shown = re.sub(rf"(^|: ){GAP} (?=\w+( \w+)?(: {GAP})?$)", rf"\g<1>4{GAP} ", shown)  # an HTTP status
    for mark in MARKS:
        shown = shown.removeprefix(mark)
    if not re.search(r"[^\W\d_]", shown) or shown == "the name …":
        return ""
    found = read(shown)
    return shown if found is None else "".join(part for part in found.kept if re.search(r"[^\W\d_]{3}", part))


def test_everything_that_the_engine_says_of_its_state_has_its_portuguese():
    """Reasons and what to do, mistakes in a file, events, drops, what each operator is: none is forgotten."""
    operators = [find(kind, name).doc.partition("\n\n")[0] for kind in NodeKind for name in names(kind, shipped=True)]
    texts = {*_said(), *_written(), *operators}
    assert len(texts) > 600
    assert sorted(filter(None, map(_unknown, texts))) == []


def test_the_table_is_sorted_and_fills_each_gap_once():
    """A line each, in the order of the English; as many gaps on both sides, in order or by their numbers."""
    text = PHRASES.read_text(encoding="utf-8")
    table = json.loads(text)
    assert text == json.dumps(dict(sorted(table.items())), ensure_ascii=False, indent=0) + "\n"
    for english, portuguese in table.items():
        gaps, numbers = english.count(GAP), re.findall(r"\{(\d+)\}", portuguese)
        told = portuguese.count(GAP)
        assert (told == gaps and not numbers) or (not told and sorted(map(int, numbers)) == list(range(1, gaps + 1))), (
            english
        )
        assert portuguese.strip(), english


@pytest.mark.parametrize(
    ("english", "portuguese"),
    [
        ("timeout", "tempo esgotado"),
        (
            "name not found: [Errno -2] Name or service not known; correct `address`, or the name service (and 2 more)",
            "nome não encontrado: [Errno -2] nome ou serviço desconhecido; corrija `address`, ou o DNS (e mais 2)",
        ),
        (
            "press1: 3 of 14 values can't be read, x (DB1 byte 10): address out of range: code 0x05",
            "press1: 3 de 14 valores não podem ser lidos, x (DB1 byte 10): endereço fora da faixa: código 0x05",
        ),
        (
            "lost: given up; connecting anew; disk full (data/j): frames wait in memory, room for 1200 more",
            "conexão perdida: desistiu; conectando de novo; disco cheio (data/j): os quadros esperam, cabem mais 1200",
        ),
        (
            "login: not authorised (ask Ana); check username and password",
            "login: não autorizado (ask Ana); verifique username e password",
        ),
        (
            "journal 'closed' can't be written: Permission denied",
            "o diário 'closed' não pode ser gravado: permissão negada",
        ),
        ("closed: timeout: no complete answer within 2 s", "fechado: tempo esgotado: nenhuma resposta completa em 2 s"),
        (
            "DB1.0..13 -> DB2.0..13 is not written: the source can't be read (timeout) (and 2 more)",
            "DB1.0..13 -> DB2.0..13 não é escrita: a fonte não pode ser lida (tempo esgotado) (e mais 2)",
        ),
        (
            "the server refuses: 400 bad request: no such machine; the frame is with the dead letters",
            "o servidor recusa: 400 pedido inválido: no such machine; o quadro está entre os recusados em definitivo",
        ),
        ("write the docs", "write the docs"),
        ("must be > 0, got -1", "precisa ser > 0, recebeu -1"),
        ("there is no node 'timeout'", "não há nó 'timeout'"),
        (
            "my own operator's trouble; look into the closed cabinet",
            "my own operator's trouble; look into the closed cabinet",
        ),
        ("my own trouble; check token", "my own trouble; check token"),
        ("x" * 5000, "x" * 5000),
        ("", ""),
    ],
)
def test_a_text_is_understood_by_its_parts_or_stays_as_it_is(english, portuguese):
    """Clauses, parentheses and quoted reasons are known by themselves; names in quotes and unknown texts stay."""
    assert say(english) == portuguese


@pytest.mark.parametrize("part", ["tls: ", "a (", "x; ", "login: a; ", " (and 2 more)", "400 bad request: {'a': 1}; "])
def test_a_text_of_many_parts_is_neither_taken_apart_for_long_nor_lost(part):
    """What a receiver answers may look like anything: it stays whole, whatever stands before it is known."""
    text = part * (900 // len(part)) + "fim"
    assert say(text).endswith("fim")
    refused = say(f"400 bad request: {text}")
    assert refused == f"400 pedido inválido: {text}"


def test_a_page_in_portuguese_is_told_in_portuguese_and_an_english_one_as_before():
    """Troubles, states of blocks, bad values, the log, a failure that passes: on the stream and in the document."""
    view = Watched()
    view.become("press/press1", State.BACKING_OFF, "timeout; the PLC may be overloaded; raise `timeout`")
    view.latest[view.press] = data(view.press, NOW, x=1).replace(bad={"x": "NaN"})
    view.failures[view.press] = Frame.failure(view.press, view.press.moments.at(NOW), "timeout")
    first = {
        language: json.loads(re.findall(r'id="first">(.*?)</script>', ask(view, f"/?lang={language}").text)[0])
        for language in ("pt-BR", "en")
    }
    trouble = "tempo esgotado; o CLP pode estar sobrecarregado; aumente `timeout`"
    assert first["pt-BR"]["troubles"][0][2] == trouble
    assert first["pt-BR"]["states"][0][2] == trouble
    assert first["pt-BR"]["seen"][0]["bad"] == {"0": "NaN (não é número)"}
    assert first["en"]["troubles"][0][2] == view.actors["press/press1"].reason
    assert first["en"]["seen"][0]["bad"] == {"0": "NaN"}
    event = log.Event(
        1, NOW, "warning", "frames dropped", "x", {"reason": "mailbox_full", "path": "closed", "count": 3}
    )
    news = {
        "log": [event],
        "frames": [{"e": "timeout", "of": "closed"}],
        "nodes": [{"n": "x", "drops": {"damaged": 2}}],
    }
    told = spoken.told(news, say)
    assert told["log"][0]["event"] == "quadros descartados"
    assert told["log"][0]["more"] == {"motivo": "fila interna cheia", "caminho": "closed", "quantos": 3}
    assert (told["frames"], told["nodes"]) == (
        [{"e": "tempo esgotado", "of": "closed"}],
        [{"n": "x", "drops": {"danificado": 2}}],
    )
    assert (event.event, event.more["reason"], news["frames"][0]["e"]) == ("frames dropped", "mailbox_full", "timeout")
    assert spoken.told(news, str) is news


class Letters:
    """One dead letter."""

    async def dead(self, _limit):
        """Refused for good."""
        return [Entry(1, "dead", "acme/press1", "plc/x", 1, NOW, "{}", "not authorised", NOW)]


def test_answers_and_refusals_speak_the_language_of_who_asks():
    """By the browser's language or the choice that is kept; programs, which name none, get English as ever."""
    view = Watched()
    view.letters = {"broker": Letters()}
    view.become("broker", State.DEGRADED, "closed", NodeKind.SINK)
    assert ask(view, "/api/dead/broker", headers=PORTUGUESE).json()[0]["reason"] == "não autorizado"
    assert ask(view, "/api/dead/broker").json()[0]["reason"] == "not authorised"
    assert ask(view, "/api/node/broker", headers=PORTUGUESE).json()["actors"][0]["reason"] == "fechado"
    assert ask(view, "/api/graph", headers=PORTUGUESE).text == ask(view, "/api/graph").text
    refused = ask(view, "/api/requeue/broker", method="POST", headers={"Cookie": "lang=pt-BR"})
    assert (refused.status_code, refused.text[:43]) == (403, "sem login ninguém pode reenviar quadros: de")
    assert int(refused.headers["content-length"]) == len(refused.content)
    assert ask(view, "/api/requeue/broker", method="POST").text.startswith("without a login nobody may send")
    locked = Http(listen="127.0.0.1:0", token=Secret("t0ken-of-tests"))
    assert ask(view, "/", http=locked, headers=PORTUGUESE).text.startswith("entre como um dos http.users")


def test_what_check_says_is_translated_and_the_file_is_not():
    """Messages and hints, and the names of predictions; the text of the file stays to the letter."""
    problem = {"line": 3, "node": "press", "option": "adress", "severity": "error"}
    found = {
        "text": "timeout: 2s",
        "problems": [{**problem, "message": "unknown option", "hint": "did you mean 'address'?"}],
        "predictions": [{"node": "press", "line": 1, "lines": [["frames", "1/s of about 90 bytes"], ["x", "y"]]}],
    }
    said = spoken.checked(found, say)
    assert said["problems"] == [{**problem, "message": "opção desconhecida", "hint": "você quis dizer 'address'?"}]
    assert said["predictions"][0]["lines"] == [["quadros", "1/s de cerca de 90 bytes"], ["x", "y"]]
    assert said["text"] == "timeout: 2s"
    assert msgspec.json.encode(spoken.checked(found, str)) == msgspec.json.encode(found)
