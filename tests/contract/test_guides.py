"""The guides' snippets and commands are right: ours load, theirs import to the same, every command exists."""

import csv
import json
import re
import shlex
import tomllib

import click
import pytest
from ruamel.yaml import YAML

from pipeline import cli
from pipeline.config import load_text
from pipeline.s7.address import parse_address
from tests.parts.line import ROOT

GUIDES = ["COMING_FROM", "FIRST_HOUR"]
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def blocks(guide, language, tongue=""):
    """The blocks of a guide in one language."""
    text = (ROOT / "configs" / f"{guide}{tongue}.md").read_text(encoding="utf-8")
    return [body for found, body in BLOCK.findall(text) if found == language]


def addresses(graph):
    """The tags of a graph's only source, as addresses."""
    (source,) = graph["sources"].values()
    return {
        name: str(parse_address(tag["address"] if isinstance(tag, dict) else tag))
        for name, tag in source["tags"].items()
    }


@pytest.mark.parametrize("guide", GUIDES)
def test_both_languages_show_the_same(guide):
    """Snippets and commands are the same, and as many headings; links lead somewhere."""
    texts = [(ROOT / "configs" / f"{guide}{tongue}.md").read_text(encoding="utf-8") for tongue in ("", ".pt-BR")]
    assert BLOCK.findall(texts[0]) == BLOCK.findall(texts[1]) != []
    assert texts[0].count("\n## ") == texts[1].count("\n## ")
    for text in texts:
        links = [link for link in LINK.findall(text) if "://" not in link]
        assert [link for link in links if not (ROOT / "configs" / link).exists()] == []


def test_our_snippet_is_a_graph(tmp_path):
    """Without a mistake, and without a warning but for the certificate that is not there yet."""
    (ours,) = blocks("COMING_FROM", "yaml")
    graph = load_text(ours, tmp_path / "line.yaml", {})
    assert [problem.message for problem in graph.warnings] == ["there is no file 'ca.crt' yet"]


@pytest.mark.parametrize(
    ("language", "name", "more"),
    [("json", "flow.json", []), ("csv", "tags.csv", ["--address", "192.168.0.121"])],
)
def test_what_others_export_imports_to_the_same_tags(language, name, more, tmp_path):
    """The page's snippet, by the page's command."""
    (theirs,) = blocks("COMING_FROM", language)
    (tmp_path / name).write_text(theirs)
    output = tmp_path / "line.yaml"
    with pytest.raises(SystemExit) as ended:
        cli.main(["import", str(tmp_path / name), *more, "-o", str(output)])
    assert ended.value.code == 0
    command = next(line for block in blocks("COMING_FROM", "sh") for line in block.splitlines() if name in line)
    assert shlex.split(command)[3:] == ["import", name, *more, "-o", "line.yaml"]
    yaml = YAML(typ="safe")
    (ours,) = blocks("COMING_FROM", "yaml")
    imported = yaml.load(output.read_text())
    assert addresses(imported) == addresses(yaml.load(ours))
    assert next(iter(imported["sources"].values()))["address"] == "192.168.0.121"


def test_the_other_snippets_name_the_same_values():
    """In Telegraf's words, in a flow, in a table."""
    (ours,) = blocks("COMING_FROM", "yaml")
    names = list(addresses(YAML(typ="safe").load(ours)))
    telegraf = tomllib.loads(blocks("COMING_FROM", "toml")[0])
    assert [field["name"] for field in telegraf["inputs"]["s7comm"][0]["metric"][0]["fields"]] == names
    assert [tag["name"] for tag in json.loads(blocks("COMING_FROM", "json")[0])[0]["vartable"]] == names
    assert [row["Tag Name"] for row in csv.DictReader(blocks("COMING_FROM", "csv")[0].splitlines())] == names


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_of_a_guide_exists_with_its_options(guide):
    """Also those inside of sentences and tables."""
    text = (ROOT / "configs" / f"{guide}.md").read_text(encoding="utf-8")
    lines = [line for block in blocks(guide, "sh") for line in block.splitlines()] + re.findall(
        r"`([^`\n]+)`", BLOCK.sub("", text)
    )
    called = [
        re.sub(r"^.*?(python -m )?pipeline ", "", line) for line in lines if re.match(r"\S*pipeline |python", line)
    ]
    assert called
    for line in called:
        words = shlex.split(line.partition(" | ")[0], comments=True)
        if words[0].endswith(".yaml"):
            words.insert(0, "run")
        command = cli.cli.get_command(click.Context(cli.cli), words[0])
        assert command is not None, line
        while isinstance(command, click.Group) and len(words) > 1:
            words = words[1:]
            command = command.commands[words[0]]
        options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        assert {word for word in words[1:] if word.startswith("-")} <= options, line
