"""`infra/README.md`: both languages say the same, links lead somewhere, the table of rights is the broker's."""

import re

import pytest

from tests.parts.platform import INFRA, platform

READMES = ["README.md", "README.pt-BR.md"]


def text_of(name: str) -> str:
    """The page."""
    return (INFRA / name).read_text(encoding="utf-8")


def test_both_languages_give_the_same_commands():
    """Blocks, and what stands in the first column of each table, where it is code."""

    def commands(name: str) -> tuple[list[str], list[str]]:
        blocks = re.findall(r"^```(?:sh|env)\n.*?^```$", text_of(name), re.DOTALL | re.MULTILINE)
        cells = re.findall(r"^\|([^|]*)\|", text_of(name), re.MULTILINE)
        return blocks, re.findall(r"`[^`]+`", "".join(cells))

    english = commands("README.md")
    assert english == commands("README.pt-BR.md")
    assert min(map(len, english)) > 8


@pytest.mark.parametrize("name", READMES)
def test_what_a_page_names_is_there(name):
    """Links, and paths of this folder."""
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text_of(name)) if "://" not in link]
    paths = re.findall(r"\binfra/(?!data|backups|secrets|\.env)([\w./@-]+)", text_of(name))
    assert [each for each in (*links, *paths) if not (INFRA / each.rstrip(".")).exists()] == []


@pytest.mark.real("openssl")
def test_the_table_of_rights_is_what_the_broker_is_given():
    """User by user, in both languages."""
    with platform() as plant:
        plant.do("setup")
        acl = (plant.infra / "secrets" / "mosquitto" / "acl").read_text(encoding="utf-8")
    given = {
        block.split("\n")[0].removeprefix("user "): sorted(re.findall(r"^topic (\S+ \S+)$", block, re.MULTILINE))
        for block in acl.split("\n\n")[1:]
    }
    for name in READMES:
        rows = [
            line.split("|") for line in text_of(name).splitlines() if re.match(r"\| `\w+` \| `\w+_PASSWORD` \|", line)
        ]
        told = {
            user.strip(" `"): sorted(
                f"{verb} {topic}"
                for verb, cell in (("write", writes), ("read", reads))
                for topic in re.findall(r"`([^`]+)`", cell)
            )
            for _, user, _, writes, reads, _ in rows
        }
        assert told == given
