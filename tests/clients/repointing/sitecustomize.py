"""Points fal's Python client at FAL_SELF_HOSTED over plain http, from outside: put this folder on PYTHONPATH."""

import os

if home := os.environ.get("FAL_SELF_HOSTED"):
    from fal_client import client

    client.RUN_URL_FORMAT, client.QUEUE_URL_FORMAT = f"{home}/run/", f"{home}/queue/"
    client.REST_URL, client.CDN_URL = f"{home}/rest", f"{home}/cdn"
