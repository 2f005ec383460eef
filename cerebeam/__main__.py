"""`python -m cerebeam`: the console script, also where the folder of scripts is not on the path."""

from cerebeam.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
