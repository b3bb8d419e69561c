"""Kill reespack before every single call that changes a file of its store; count the points.

    kill_points.py FOLDER PROBLEMS

Every point gets a process that is killed there, and then another one that must find or make a
whole environment. The file PROBLEMS gets a line for each point after which something was broken.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from testbed.killing import Killer, Lab, compile_library  # noqa: E402 - after its path
from testbed.small_archive import make_archive  # noqa: E402


def main() -> None:
    folder, target = map(Path, sys.argv[1:])
    lab = Lab(make_archive(folder), folder / "store", folder)
    library = compile_library(TOP / "testbed" / "kill_at.c", folder)
    killer = Killer(lab, library, lab.whole())
    found = [
        *killer.while_unpacking("python", "sh"),
        *killer.while_unpacking("sh", "python"),
        *killer.while_removing(),
        *killer.twice_in_a_row(),
    ]
    target.write_text("".join(f"{' '.join(one.split())}\n" for one in found if one))
    print(json.dumps({"count": len(found)}))


if __name__ == "__main__":
    main()
