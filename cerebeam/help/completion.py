"""Shell completion: a script of commands, options and choices for bash and zsh.

eval "$(cerebeam completion bash)"    # in ~/.bashrc; or zsh, in ~/.zshrc after compinit
"""

import sys
from collections.abc import Sequence

from cerebeam.help.pages import load
from signals.command_line import Parser
from signals.help_pages import Page

SHELLS = ("bash", "zsh")

_SCRIPT = """\
_cerebeam() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" words="" command="" k
  for ((k = 1; k < COMP_CWORD && k < 3; k++)); do
    [[ "${{COMP_WORDS[k]}}" == -* ]] && break
    case "${{command:+$command }}${{COMP_WORDS[k]}}" in
{names}
    esac
  done
  case "$command $prev" in
{choices}
  esac
  if [[ -z "$words" ]]; then
    case "$command" in
{options}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [[ ${{#COMPREPLY[@]}} -gt 0 ]] || COMPREPLY=($(compgen -f -- "$cur"))
}}
complete -o filenames -F _cerebeam cerebeam
"""


def script(shell: str) -> str:
    """Return the completion script of a shell, `bash` or `zsh`."""
    pages = load()
    top = [name for name in pages if " " not in name]
    names = f'      {"|".join(map(_quoted, pages))}) command="${{command:+$command }}${{COMP_WORDS[k]}}" ;;'
    options = [f'      {_quoted(name)}) words="{" ".join(_words(page))}" ;;' for name, page in pages.items()]
    choices = [
        f'    {_quoted(f"{name} {flag}")}) words="{" ".join(option.choices)}" ;;'
        for name, page in pages.items()
        for option in page.options
        for flag in option.names
        if option.choices and not option.is_positional
    ]
    text = _SCRIPT.format(
        names=names,
        choices="\n".join(choices),
        options="\n".join([f'      "") words="{" ".join(top)}" ;;', *options]),
    )
    return text if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{text}"


def _quoted(words: str) -> str:
    return f'"{words}"'


def _words(page: Page) -> list[str]:
    flags = [name for option in page.options if not option.is_positional for name in option.names]
    return [*(name for name, _ in page.commands), *flags, "--help"]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the script of a shell."""
    parser = Parser(prog="cerebeam completion", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shell", choices=SHELLS, help="whose script to print")
    print(script(parser.parse_args(argv).shell), end="")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
