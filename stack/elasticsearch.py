"""Elasticsearch: one node without security, from the server that its makers publish on Maven Central."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.request import urlopen

from stack.account import owned_directory, public_file, server_account
from stack.artefacts import elasticsearch_home
from stack.instance import Instance
from stack.ports import HOST, listens
from stack.service import Service, server_environment
from stack.wheels import java_home

# What the server needs beside the two files written here. Not its jvm.options: they name a module
# (jdk.incubator.vector) that a reduced Java runtime lacks, and the JVM would not start.
COPIED = ("log4j2.properties", "users", "users_roles", "roles.yml", "role_mapping.yml")


def service(instance: Instance) -> Service:
    """Elasticsearch of this instance."""
    home, java = elasticsearch_home(), java_home()
    directory, ports = instance.home / "elasticsearch", instance.ports()
    http, transport = ports["elasticsearch"], ports["elasticsearch_transport"]
    return Service(
        name="elasticsearch",
        # By name of the shell: Python's zipfile leaves the script without its executable bit.
        argv=["bash", home / "bin/elasticsearch"],
        directory=directory,
        ports={"elasticsearch": http, "elasticsearch_transport": transport},
        prepare=lambda: configure(home, directory, http=http, transport=transport),
        ready=lambda: listens(http) and is_healthy(http),
        environment=server_environment(directory)
        | {
            "ES_JAVA_HOME": str(java),
            "ES_PATH_CONF": str(directory / "config"),
            "ES_TMPDIR": str(directory / "tmp"),
            "CLI_JAVA_OPTS": launcher_options(directory),
        },
        account=server_account(),
        stop_timeout=60,
        ready_timeout=300,  # 13 s on two idle cores, several times that on busy ones
    )


def configure(home: Path, directory: Path, *, http: int, transport: int) -> None:
    """Write the configuration directory, which must be the server's own: it adds a keystore to it."""
    # The launcher leaves a directory there at each start.
    shutil.rmtree(directory / "tmp", ignore_errors=True)
    for name in ("config", "data", "logs", "tmp"):
        owned_directory(directory / name, server_account())
    texts = {name: (home / "config" / name).read_text() for name in COPIED} | {
        "elasticsearch.yml": settings(directory, http=http, transport=transport),
        "jvm.options": jvm_options(directory),
    }
    for name, text in texts.items():
        public_file(directory / "config" / name, text)


def launcher_options(directory: Path) -> str:
    """What keeps the launcher's own temporary files out of /tmp.

    Its script splits the options at blanks, so a path that has one cannot be given.
    """
    return "" if len(str(directory).split()) > 1 else f"-Djava.io.tmpdir={directory}/tmp"


def settings(directory: Path, *, http: int, transport: int) -> str:
    """elasticsearch.yml; each value as JSON, which YAML reads. The server refuses settings it does not know."""
    values = {
        "cluster.name": "streamapp",
        "node.name": "n1",
        "discovery.type": "single-node",
        "network.host": HOST,
        "http.port": http,
        "transport.port": transport,
        "path.data": f"{directory}/data",
        "path.logs": f"{directory}/logs",
        "xpack.security.enabled": False,
        # A development machine's disk is often nearly full; the index would silently become read-only.
        "cluster.routing.allocation.disk.threshold_enabled": False,
        # Memory maps need a kernel setting that only root can raise.
        "node.store.allow_mmap": False,
    }
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items())


def jvm_options(directory: Path) -> str:
    """jvm.options: a fixed heap of 1 GiB."""
    options = (
        *("-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError"),
        f"-Djava.io.tmpdir={directory}/tmp",
    )
    return "".join(f"{option}\n" for option in options)


def is_healthy(port: int) -> bool:
    """Whether every primary shard is assigned: on one node replicas never are, hence yellow."""
    with urlopen(f"http://{HOST}:{port}/_cluster/health", timeout=2) as response:
        return json.load(response)["status"] in ("yellow", "green")
