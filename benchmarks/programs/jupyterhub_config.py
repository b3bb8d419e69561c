"""The Hubs of the hub rows: with BENCH_CATALOG reespack's, without it one that runs a command."""

import os
import sys
from pathlib import Path

c = get_config()  # noqa: F821 - the Hub defines it
folder = Path(os.environ["HUB_FOLDER"])
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed.loopback import settle_on_loopback  # noqa: E402 - it is not installed

settle_on_loopback(c)
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = {"ada"}
c.JupyterHub.spawner_class = "simple"  # as whoever runs this, whatever the user is called
c.SimpleLocalProcessSpawner.home_dir_template = str(folder / "home")
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 600}  # the answer comes when it runs
c.Spawner.http_timeout = c.Spawner.start_timeout = 600
if os.geteuid() == 0:
    c.Spawner.args = ["--allow-root"]

if "BENCH_CATALOG" in os.environ:
    import reespack.hub

    reespack.hub.configure(c, catalog=os.environ["BENCH_CATALOG"])
else:

    def _run_what_is_asked_for(spawner):  # noqa: ANN001, ANN202 - JupyterHub's hook
        spawner.cmd = spawner.user_options["cmd"]

    c.Spawner.pre_spawn_hook = _run_what_is_asked_for
    c.Spawner.apply_user_options = lambda _spawner, _options: None
