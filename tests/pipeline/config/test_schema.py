"""The JSON Schema follows from the same classes as the loader."""

from __future__ import annotations

import json

from pipeline.config.schema import describe, schema


def test_every_type_offers_its_own_options(operators):
    """A node's `type` selects a definition with descriptions, bounds, defaults, choices and the node's own keys."""
    made = schema()
    assert json.loads(json.dumps(made)) == made
    sinks = made["properties"]["sinks"]["additionalProperties"]
    chosen, substituted = sinks["properties"]["type"]["anyOf"]
    assert (chosen["enum"], len(chosen["enumDescriptions"])) == (["mqtt", "s7_mirror"], 2)
    assert substituted["pattern"] == r"\$\{"
    assert sinks["allOf"][0] == {"required": ["type", "from"]}
    mqtt_chosen = {"properties": {"type": {"type": "string", "pattern": "^mqtt$"}}, "required": ["type"]}
    assert {"if": mqtt_chosen, "then": {"$ref": "#/$defs/sinks.mqtt"}} in sinks["allOf"]
    mqtt = made["$defs"]["sinks.mqtt"]
    assert list(mqtt["properties"])[:4] == ["type", "enabled", "from", "host"]
    assert (mqtt["allOf"], mqtt["additionalProperties"]) == ([{"required": ["host"]}], False)
    assert mqtt["properties"]["host"]["description"] == "name of the broker"
    assert mqtt["properties"]["port"]["default"] == 8883
    assert (mqtt["properties"]["qos"]["minimum"], mqtt["properties"]["qos"]["maximum"]) == (0, 1)
    assert "from" not in made["$defs"]["sources.s7"]["properties"]
    assert "as" in made["$defs"]["transforms.heartbeat"]["properties"]


def test_every_reference_leads_somewhere(operators):
    """No `$ref` is dangling and no definition is empty."""
    made = schema()
    text = json.dumps(made)
    for part in text.split('"$ref": "#/$defs/')[1:]:
        assert made["$defs"][part.partition('"')[0]]


def test_nothing_leaks_into_what_editors_suggest(operators):
    """The YAML language server offers `required` beside properties, named as the class; empty defaults it inserts."""

    def leaks(part, place):
        if isinstance(part, list):
            return [leak for inner in part for leak in leaks(inner, place)]
        if not isinstance(part, dict):
            return []
        own = [place] * (part.get("type") == "object" and "required" in part and "properties" in part)
        own += [place] * (part.get("default") == "")
        return own + [leak for key, inner in part.items() if key != "if" for leak in leaks(inner, f"{place}/{key}")]

    assert leaks(schema(), "") == []


def test_options_in_words(operators):
    """One line an option, nested ones indented; what is required says so."""
    lines = list(describe(next(op.options for (_, name), op in operators.items() if name == "mqtt")))
    assert lines[:3] == [
        "host (text, required): name of the broker",
        "port (a whole number, default 8883)",
        "topic (a topic, default plc/{tenant_id}/{plc_id})",
    ]
    assert "  when_full (one of drop_oldest, drop_newest, default drop_oldest)" in lines
