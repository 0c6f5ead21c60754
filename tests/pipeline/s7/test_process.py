"""The processes of the simulated PLC: alike for one seed, and alive enough to be worth watching."""

from itertools import pairwise
from random import Random

import pytest

from pipeline.config.layouts import LayoutOptions, Naming, build_layouts
from pipeline.s7.decode import compile_decoder
from pipeline.s7.process import Process, animate

PRESS = {
    "pecas_ruim": "BOOL @ 0.0",
    "pecas_boas": "BOOL @ 0.1",
    "maquina_ligada": "BOOL @ 0.2",
    "AI_Corrente": "REAL @ 2",
    "AI_Vibracao": "REAL @ 6",
    "contador_bom": "INT @ 10",
    "contador_ruim": "INT @ 12",
}
LINE = {
    "sensor": LayoutOptions(size=6, fields={"valor": "REAL @ 0", "flags": "BYTE @ 4"}),
    "maquina": LayoutOptions(
        size=20,
        fields={
            "status_maquina": "BOOL @ 0.2",
            "sensores": "sensor[2] @ 2",
            "contador_bom": "INT @ 14",
            "nome": "CHAR @ 16",
        },
    ),
    "linha": LayoutOptions(fields={"maquinas": "maquina[3] @ 0"}),
}


def course(layouts, name, process, *, seed=1, steps=1000, seconds=0.5):
    """The values after each step."""
    layout = build_layouts(layouts)[0][name]
    leaves = layout.leaves(Naming())
    block = bytearray(layout.size)
    step = animate(process, leaves, block, Random(seed))  # noqa: S311 - a game
    decode = compile_decoder(leaves)
    seen = []
    for _ in range(steps):
        step(seconds)
        values, bad = decode(bytes(block))
        assert bad is None
        seen.append(values)
    return seen


@pytest.fixture(scope="module")
def day():
    """Four hours of a press, a step each half second."""
    return course({"press": LayoutOptions(fields=PRESS)}, "press", Process.MACHINE, steps=4 * 7200)


def test_the_machine_runs_most_of_the_time_and_draws_current_only_then(day):
    """On and off both happen; without running no current, no part, little vibration after a while."""
    running = [values for values in day if values["maquina_ligada"]]
    assert 0.6 < len(running) / len(day) < 0.97
    assert all((values["AI_Corrente"] > 1) == values["maquina_ligada"] for values in day)
    assert not any(values["pecas_boas"] or values["pecas_ruim"] for values in day if not values["maquina_ligada"])


def test_counters_count_what_the_pulses_show(day):
    """Counters never go back, rise only with a pulse of their kind, and good parts are many more than bad ones."""
    for before, after in pairwise(day):
        for counter, pulse in (("contador_bom", "pecas_boas"), ("contador_ruim", "pecas_ruim")):
            assert after[counter] - before[counter] in ((0, 1) if after[pulse] else (0,))
    assert day[-1]["contador_bom"] > 20 * day[-1]["contador_ruim"] / 2 > 0
    assert day[-1]["contador_bom"] > 3000


def test_now_and_then_it_breaks_down(day):
    """Vibration climbs, the scrap with it, and the machine stops; afterwards it is quiet and runs again."""
    loud = [at for at, values in enumerate(day) if values["AI_Vibracao"] > 6]
    assert loud
    after = day[loud[0] : loud[0] + 120]
    assert not all(values["maquina_ligada"] for values in after)
    assert after[-1]["AI_Vibracao"] < 4
    assert max(values["AI_Vibracao"] for values in day) < 9


def test_one_seed_gives_one_course():
    """The same seed repeats to the byte, another one differs."""
    layouts = {"press": LayoutOptions(fields=PRESS)}
    first, again, other = (course(layouts, "press", Process.MACHINE, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_each_record_of_an_array_is_a_machine_of_its_own():
    """Their counters go apart, every REAL moves, and texts stay as they are."""
    seen = course(LINE, "linha", Process.MACHINE)
    counts = {seen[-1][f"maquinas_{index}_contador_bom"] for index in range(3)}
    assert len(counts) > 1
    assert min(counts) > 0
    for name in seen[0]:
        assert (len({values[name] for values in seen}) > 1) == ("nome" not in name), name


def test_counter_adds_one_each_step_and_wraps():
    """Integers go up by one, after the largest from zero; nothing else moves."""
    layouts = {"b": LayoutOptions(fields={"n": "SINT @ 0", "u": "BYTE @ 1", "r": "REAL @ 2", "s": "INT @ 6"})}
    seen = course(layouts, "b", Process.COUNTER, steps=260)
    assert [values["n"] for values in seen[:3]] == [1, 2, 3]
    assert (seen[126]["n"], seen[127]["n"]) == (127, 0)
    assert (seen[254]["u"], seen[255]["u"], seen[259]["s"]) == (255, 0, 260)
    assert {values["r"] for values in seen} == {0.0}


def test_none_leaves_all_as_it_is():
    """For blocks that only clients change."""
    seen = course({"press": LayoutOptions(fields=PRESS)}, "press", Process.NONE, steps=5)
    assert all(not any(values.values()) for values in seen)
