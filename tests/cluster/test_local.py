"""A Hub without a batch system: LocalProcessSpawner, with the same configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lab import NUMPY

if TYPE_CHECKING:
    from lab import Lab

    from testbed.hub import Hub


def test_a_local_process_runs_from_the_archive(local_hub: Hub, lab: Lab) -> None:
    user = lab.people[0]
    spawn = local_hub.spawn(user, {"environment": "beta"})
    assert spawn.ready, (spawn.events, local_hub.log)
    code = "import json, numpy, sys; print(json.dumps([sys.prefix, numpy.__version__]))"
    prefix, numpy = json.loads(local_hub.execute(user, code))
    assert numpy == NUMPY["beta"]
    assert prefix.startswith(str(lab.folder))
    assert "Starting the server" in spawn.messages
    local_hub.stop_server(user)
