# SPDX-License-Identifier: MIT
"""What the checks of tools/ share: which files are ours, and C text without what is no code."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("include", "src", "cli", "python", "examples", "bench", "fuzz", "tests", "tools")

_TOKEN = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""", re.DOTALL)


def files(root, suffixes, folders=FOLDERS):
    """Yield the paths, relative to `root`, of our files with one of these suffixes, in order."""
    for folder in folders:
        for path, names, leaves in os.walk(os.path.join(root, folder)):
            names[:] = sorted(name for name in names if name != "__pycache__" and not name.startswith("."))
            for leaf in sorted(leaves):
                if leaf.endswith(suffixes):
                    yield os.path.relpath(os.path.join(path, leaf), root)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def code_of(text, keep_strings=False):
    """C text with comments (and what stands in quotes) blanked out; the line numbers stay."""
    def blank(match):
        found = match.group()
        if match.group("text") is not None:
            return found if keep_strings else found[0] + found[0]
        return " " + "\n" * found.count("\n")
    return _TOKEN.sub(blank, text)
