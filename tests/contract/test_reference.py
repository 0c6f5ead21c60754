"""The operators' pages: as committed they are what the operators say of themselves; their examples are right."""

import io
import re

import pytest
from ruamel.yaml import YAML

from pipeline.cli import shipped_graphs
from pipeline.config import load_text
from pipeline.errors import ConfigurationError
from pipeline.operator import NodeKind, find, names
from pipeline.reference import BEGIN, END, example, put, reference
from tests.parts.engine import PLANT
from tests.parts.line import ROOT

PAGE = ROOT / "operators" / "README.md"
GRAPHS = tuple(sorted(shipped_graphs().values(), key=lambda path: (path.stem not in {"demo", "line1"}, path.stem)))
OPERATORS = [(kind, name) for kind in NodeKind for name in names(kind)]
COMMAND = "python -m pipeline operators --update operators/README.md"

each_operator = pytest.mark.parametrize(("kind", "name"), OPERATORS, ids=[f"{kind}/{name}" for kind, name in OPERATORS])


def completed(text, kind, name, **also):
    """A graph in which a node stands as in its example, and all that it needs around it: that of a shipped graph.

    One that no shipped graph has stands in the first one, and takes from its first source.
    """
    yaml = YAML(typ="safe")
    ((section, nodes),) = yaml.load(text).items()
    assert section == kind.value
    for path in GRAPHS:
        graph = yaml.load(path.read_text(encoding="utf-8"))
        shipped = {node: options for node, options in (graph.get(section) or {}).items() if options["type"] == name}
        if not shipped:
            continue
        old = next(iter(shipped))
        (node,) = nodes.values()
        node |= also
        if kind in {NodeKind.TRANSFORM, NodeKind.SINK}:
            node["from"] = graph[section][old]["from"]
        graph[section][old] = node
        out = io.StringIO()
        yaml.dump(graph, out)
        return out.getvalue(), path
    path = GRAPHS[0]
    graph = yaml.load(path.read_text(encoding="utf-8"))
    ((node, options),) = nodes.items()
    takes = {"from": next(iter(graph["sources"]))} if kind in {NodeKind.TRANSFORM, NodeKind.SINK} else {}
    graph.setdefault(section, {})[node] = options | also | takes
    out = io.StringIO()
    yaml.dump(graph, out)
    return out.getvalue(), path


def test_the_committed_pages_are_those_of_the_operators():
    """Whoever changes an option, a docstring or a shipped graph runs the command."""
    text = PAGE.read_text(encoding="utf-8")
    assert put(text, reference(GRAPHS)) == text, f"run: {COMMAND}"
    assert COMMAND in BEGIN


@each_operator
def test_every_operator_has_a_page_with_all_its_options_and_an_example(kind, name):
    """What it is, a row for each option, an example."""
    pages = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2]
    section = pages.partition(f"### {kind.value.capitalize()}\n")[2]
    page = re.split(r"\n####? ", section.partition(f"#### `{name}`\n")[2])[0]
    operator = find(kind, name)
    assert operator.doc.splitlines()[0] in page
    for field in operator.options.__struct_encode_fields__:
        assert f"| `{field}` |" in page, field
    assert "```yaml\n" in page


@each_operator
def test_every_example_is_right(kind, name, tmp_path):
    """`check` takes it, in the surroundings of a shipped graph; a wrong key in it would be found."""
    text = example(find(kind, name), GRAPHS)
    graph, path = completed(text, kind, name)
    load_text(graph, tmp_path / path.name, PLANT)
    wrong, path = completed(text, kind, name, no_such_option=1)
    with pytest.raises(ConfigurationError, match="no_such_option"):
        load_text(wrong, tmp_path / path.name, PLANT)


def test_a_page_without_marks_is_refused():
    """The message has the marks to write."""
    with pytest.raises(ValueError, match="operators --update"):
        put("# a page", "made")
    assert put(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb"
