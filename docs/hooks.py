"""What the site adds to pages: generated references of commands and schemas; links that leave docs/ as plain names;
options that stay on one line."""

import re
from typing import Any

from mkdocs.structure.files import File, Files

from cerebeam.help.pages import load
from cerebeam.schemas import schemas
from signals.help_pages import Page, described

COMMANDS, SCHEMAS = "reference/commands.md", "reference/schemas.md"


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages of all commands and of what is stored."""
    files.append(File.generated(config, COMMANDS, content=reference()))
    files.append(File.generated(config, SCHEMAS, content=schemas()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page whose links to files outside of docs/ are names: they lead somewhere in the repository only."""
    return re.sub(r"\[([^\]]+)\]\((?:\.\./)+((?:infra|benchmarks|CONTRIBUTING)[^)]*)\)", r"\1 (`\2`)", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Return a page whose short options, `--model`, carry the class that keeps them on one line."""
    return re.sub(r"<code>(--?\w[^<\s]{0,28}(?: [^<\s]{1,12})?)</code>", r'<code class="option">\1</code>', html)


def reference() -> str:
    """Return the page of every command, its options, choices and defaults, from the stored pages."""
    parts = ["# Commands", "Generated from the commands themselves. `cerebeam COMMAND --help` prints the same."]
    return "\n\n".join([*parts, *(_section(name, page) for name, page in load().items())]) + "\n"


def _section(name: str, page: Page) -> str:
    lines = [f"{'###' if ' ' in name else '##'} {name}", page.about.replace("<", "&lt;")]
    if page.commands:
        lines.append("\n".join(f"- `{page.prog} {word}`: {about}" for word, about in page.commands))
    rows = [
        f"| {', '.join(f'`{part}`' for part in option.names)} | {option.metavar} | {_cell(described(option))} |"
        for option in page.options
        if "." not in option.names[0] or name in ("pretrain", "finetune", "autoencoder")
    ]
    if rows:
        lines.append("\n".join(["| option | value | meaning |", "|---|---|---|", *rows]))
    if len(rows) < len(page.options):
        lines.append("Options of recipes, `--SECTION.FIELD VALUE`, are those of `finetune`.")
    lines += [f"One of {', '.join(group)} is required." for group in page.one_of]
    return "\n\n".join(filter(None, [*lines, page.after]))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
