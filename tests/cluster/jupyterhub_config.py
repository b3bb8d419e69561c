"""The Hub of the cluster tests: docs/hub.md's configuration as it stands, and the test's ports."""

import os
import re
import sys
from pathlib import Path

c = get_config()  # noqa: F821 - the Hub defines it
folder = Path(os.environ["HUB_FOLDER"])

top = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(top))

from testbed.polling import poll_often  # noqa: E402 - it is not installed

poll_often()
page = (top / "docs" / "hub.md").read_text(encoding="utf-8")
block = re.search(r"```python title=\"jupyterhub_config.py\"\n(.*?)```", page, re.DOTALL)
code = block[1]
if "TEST_SPAWNER" in os.environ:
    code = code.replace("batchspawner.SlurmSpawner", os.environ["TEST_SPAWNER"])
exec(compile(code, "docs/hub.md", "exec"))  # noqa: S102 - our own page

c.JupyterHub.bind_url = os.environ["HUB_URL"]
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{os.environ['HUB_PORT']}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ['HUB_PROXY_PORT']}"
c.ConfigurableHTTPProxy.command = [os.environ["HUB_PROXY"]]
c.ConfigurableHTTPProxy.pid_file = str(folder / "proxy.pid")
c.JupyterHub.db_url = f"sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = str(folder / "cookie_secret")
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ["TEST_PASSWORD"]
c.SharedPasswordAuthenticator.admin_password = os.environ["TEST_ADMIN_PASSWORD"]
c.Authenticator.allowed_users = set(os.environ["TEST_USERS"].split(","))
c.Authenticator.admin_users = {"admin"}
c.JupyterHub.load_groups = {"ice": {"users": [os.environ["TEST_USERS"].split(",")[0]]}}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.services = [{"name": "tests", "api_token": os.environ["HUB_TOKEN"]}]
c.JupyterHub.load_roles = [
    {
        "name": "tests",
        "services": ["tests"],
        "scopes": ["admin:users", "admin:servers", "access:servers"],
    }
]
c.BatchSpawnerBase.startup_poll_interval = 0.1
# "localhost" may be ::1 to the proxy, where no server listens.
c.BatchSpawnerRegexStates.state_exechost_exp = "127.0.0.1"
c.Spawner.env_keep = ["PATH", "LANG", "SLURM_CONF"]
if os.geteuid() != 0:
    c.BatchSpawnerBase.exec_prefix = ""
if "," not in os.environ["TEST_USERS"]:  # whoever runs the tests, maybe root
    c.Spawner.args = ["--allow-root"]
    c.BatchSpawnerBase.req_options = f"--output={folder}/job-%j.log"  # not in their home
