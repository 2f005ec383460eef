import subprocess
import sys

from cerebeam.cli import COMMANDS

LEARNING = ("training", "studies", "model")
"""Rooms whose options are those of models: their commands load torch to list them."""
HEAVY = {"torch", "apache_beam", "tensorflow", "scipy.signal", "scipy.stats", "sklearn", "mne"}

WALK = """
import contextlib, io, sys
from cerebeam.cli import main
for command in sys.argv[1:]:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as text:
        main([command, "--help"])
    assert "usage" in text.getvalue().lower(), command
    print(command, *sorted(sys.modules))
"""


def test_help_of_what_does_not_learn_loads_nothing_heavy():
    commands = [name for name, (module, _) in COMMANDS.items() if not module.startswith(LEARNING)]
    assert {"preprocess", "dry-run", "shards", "synthesize", "report", "predict"} <= set(commands)
    walked = subprocess.run([sys.executable, "-c", WALK, *commands], capture_output=True, text=True, check=True)
    lines = [line.split() for line in walked.stdout.splitlines()]
    assert [line[0] for line in lines] == commands
    # The first command that loads a library is the one to mend; those after it share its process.
    assert {line[0]: HEAVY & set(line[1:]) for line in lines} == {name: set() for name in commands}
