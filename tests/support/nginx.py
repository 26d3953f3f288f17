"""What every configuration of nginx needs that is run from a directory of a test."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

FRAME = """
daemon off;
user {user};
pid {directory}/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{http}
}}
"""


def configuration(directory: Path, http: str) -> str:
    """The whole of it, with these lines in its http block."""
    user = pwd.getpwuid(os.getuid()).pw_name
    return FRAME.format(directory=directory, user=user, http=http)
