"""Every block of code in the pages is run by a test, or stands in docs/blocks.toml with the reason why not."""

import re
import shlex

import pytest

from benchmarks.benches.parts.doc_blocks import ROOT, blocks, register
from cerebeam.help.pages import load

BLOCKS = list(blocks())
RUN, NOT_RUN = register()
PAGES = load()


def test_every_block_is_in_the_register_and_nothing_else_is():
    assert {block.key for block in BLOCKS} == {*RUN, *NOT_RUN}
    assert not set(RUN) & set(NOT_RUN)
    assert len(BLOCKS) > 60


def test_the_tests_that_run_them_exist_and_name_the_page():
    for key, test in RUN.items():
        page = key.split()[0].removeprefix("tutorials/").removesuffix(".md")
        assert page in (ROOT / test).read_text(encoding="utf-8"), (key, test)
    for key, reason in NOT_RUN.items():
        for name in re.findall(r"tests/[\w/]+(?:\.py)?", reason):
            assert (ROOT / name).exists(), (key, name)


def command_lines():
    """Yield (page, line) of every command line of ours in a block, joined where a backslash continues it."""
    for block in BLOCKS:
        for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
            text = re.split(r"\s#|\s{3,}", line.removeprefix("$ ").strip())[0]
            for part in re.split(r"&&|;|\|", re.sub(r"[\[\]]|\.\.\.", " ", text)):
                if part.strip().startswith("cerebeam "):
                    yield block.page, part.strip()


@pytest.mark.parametrize(("page", "line"), sorted(set(command_lines())), ids=lambda value: str(value)[:40])
def test_a_command_line_of_a_page_is_one(page, line):
    words = shlex.split(line.replace("'", ""))[1:]
    assert words[0] in PAGES or words[0].isupper(), line
    if words[0].isupper():  # the grammar itself
        return
    name = " ".join(words[:2]) if " ".join(words[:2]) in PAGES else words[0]
    known = {option: one for one in PAGES[name].options for option in one.names}
    for word, after in zip(words, [*words[1:], ""], strict=True):
        option = word.split("=")[0]
        # A study takes recordings instead of shards, and the options of any model's recipe.
        free = option in ("--help", "--no-encoder", "--input", "--labels") or option.startswith("--direct_")
        if not option.startswith("--") or free or "." in option or option.isupper():
            continue
        assert option in known, (line, option)
        choices = known[option].choices
        assert not choices or not after or after.isupper() or set(after.split("|")) <= set(choices), (line, option)


def test_the_walk_finds_the_commands_of_the_pages():
    lines = list(command_lines())
    assert len(lines) > 40
    assert ("tutorials/serving.md", "cerebeam predict bundle night.edf --hop 10") in lines
