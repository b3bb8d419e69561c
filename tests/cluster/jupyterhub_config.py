"""The Hub of the cluster tests: docs/hub.md's configuration as it stands, and the test's ports."""

import os
import re
import sys
from pathlib import Path

c = get_config()  # noqa: F821 - the Hub defines it
folder = Path(os.environ["HUB_FOLDER"])

top = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(top))

from testbed.loopback import settle_on_loopback  # noqa: E402 - it is not installed

page = (top / "docs" / "hub.md").read_text(encoding="utf-8")
block = re.search(r"```python title=\"jupyterhub_config.py\"\n(.*?)```", page, re.DOTALL)
code = block[1]
if "TEST_SPAWNER" in os.environ:
    code = code.replace("batchspawner.SlurmSpawner", os.environ["TEST_SPAWNER"])
exec(compile(code, "docs/hub.md", "exec"))  # noqa: S102 - our own page

settle_on_loopback(c)
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ["TEST_PASSWORD"]
c.SharedPasswordAuthenticator.admin_password = os.environ["TEST_ADMIN_PASSWORD"]
c.Authenticator.allowed_users = set(os.environ["TEST_USERS"].split(","))
c.Authenticator.admin_users = {"admin"}
c.JupyterHub.load_groups = {"ice": {"users": [os.environ["TEST_USERS"].split(",")[0]]}}
c.JupyterHub.allow_named_servers = True
c.BatchSpawnerBase.startup_poll_interval = 0.1
# "localhost" may be ::1 to the proxy, where no server listens.
c.BatchSpawnerRegexStates.state_exechost_exp = "127.0.0.1"
c.Spawner.env_keep = ["PATH", "LANG", "SLURM_CONF"]
if os.geteuid() != 0:
    c.BatchSpawnerBase.exec_prefix = ""
if "," not in os.environ["TEST_USERS"]:  # whoever runs the tests, maybe root
    c.Spawner.args = ["--allow-root"]
    c.BatchSpawnerBase.req_options = f"--output={folder}/job-%j.log"  # not in their home
