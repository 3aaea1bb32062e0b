"""Stop set-up with one sentence on a Python that the lock has no wheels for."""

import sys

if not (3, 11) <= sys.version_info[:2] < (3, 14):
    found = ".".join(map(str, sys.version_info[:2]))
    sys.exit(f"omnikit needs Python 3.11, 3.12 or 3.13, but {sys.executable} is {found}; call make PYTHON=python3.11.")
