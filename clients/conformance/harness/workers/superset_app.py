"""What does Apache Superset answer? The application itself with a catalog of its own in a folder: a request of its REST API a line.

    superset_app.py FOLDER

A line in is `{"method", "path", "body"}`, a line out `{"status", "body"}`. Somebody is logged in who may do everything.
"""

import json
import logging
import os
import pathlib
import sys

CONFIG = """
SECRET_KEY = "for-tests-on-this-machine-only"
SQLALCHEMY_DATABASE_URI = "sqlite:///{folder}/catalog.db"
DATA_DIR = "{folder}"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
FAB_ADD_SECURITY_API = True
SQLLAB_ASYNC_TIME_LIMIT_SEC = 0
RESULTS_BACKEND = None
CACHE_CONFIG = DATA_CACHE_CONFIG = {{"CACHE_TYPE": "NullCache"}}
FILTER_STATE_CACHE_CONFIG = EXPLORE_FORM_DATA_CACHE_CONFIG = {{"CACHE_TYPE": "SimpleCache"}}
"""


def application(folder: pathlib.Path):
    """Superset on an empty catalog, with an administrator."""
    config = folder / "superset_config.py"
    config.write_text(CONFIG.format(folder=folder))
    os.environ["SUPERSET_CONFIG_PATH"] = str(config)
    os.environ["SUPERSET_HOME"] = str(folder)
    logging.disable(logging.WARNING)
    from superset.app import create_app

    app = create_app()
    with app.app_context():
        from flask_migrate import upgrade
        from superset import appbuilder, security_manager

        upgrade(directory=str(pathlib.Path(sys.modules["superset"].__file__).parent / "migrations"))
        appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()
        role = security_manager.find_role("Admin")
        security_manager.add_user("admin", "A", "Admin", "admin@localhost.localdomain", role, password="admin")
    return app


def main():
    answers, sys.stdout = sys.stdout, sys.stderr
    app = application(pathlib.Path(sys.argv[1]).resolve())
    client = app.test_client()
    login = {"username": "admin", "password": "admin", "provider": "db", "refresh": False}
    token = client.post("/api/v1/security/login", json=login).get_json()["access_token"]
    print(json.dumps({"status": 0, "body": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        response = client.open(
            request["path"], method=request["method"], json=request.get("body"), headers={"Authorization": f"Bearer {token}"}
        )
        body = response.get_json(silent=True)
        answer = {"status": response.status_code, "body": response.get_data(as_text=True)[:4000] if body is None else body}
        print(json.dumps(answer), file=answers, flush=True)


main()
