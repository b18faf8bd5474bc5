"""A running Rowhouse for benchmarks that ask it over HTTP: on an empty directory below the temporary folder, with one service that answers
whatever it is asked, and with a gateway that is a process of its own where one is wanted (`serve --role gateway`)."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PASSWORD = "correct horse battery staple"
PATIENCE_S = 120
NAMES = ("gateway", "control", "admin", "door", "node_gateway", "node_admin", "echo")
TENANT = "acme"


def free_ports():
    """All at once, so that none is given twice."""
    held = {name: socket.socket() for name in NAMES}
    for probe in held.values():
        probe.bind(("127.0.0.1", 0))
    ports = {name: probe.getsockname()[1] for name, probe in held.items()}
    for probe in held.values():
        probe.close()
    return ports


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


class Line:
    """One kept connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)

    def call(self, method, path, body=None, **headers):
        text = None if body is None else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if text is not None:
            named["content-type"] = "application/json"
        for attempt in (1, 2):
            try:
                self.connection.request(method, path, text, named)
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (http.client.HTTPException, OSError):
                self.connection.close()
                if attempt == 2:
                    raise


class House:
    def __init__(self, program, with_node=False):
        self.ports = free_ports()
        self.home = tempfile.mkdtemp(prefix="rowhouse-bench-")
        os.chmod(self.home, 0o755)  # servers run as another user
        self.echo = ThreadingHTTPServer(("127.0.0.1", self.ports["echo"]), Echo)
        threading.Thread(target=self.echo.serve_forever, daemon=True).start()
        self.processes, self.program = [], program
        at = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.start("serve", {
            "SERVER__DATA_DIR": self.path("data"), "SERVER__GATEWAY_LISTEN": at["gateway"],
            "SERVER__CONTROL_LISTEN": at["control"], "SERVER__ADMIN_LISTEN": at["admin"], "SERVER__NODE_LISTEN": at["door"],
        })
        self.ready("admin")
        with open(self.path("data/secrets/operator.key"), encoding="ascii") as key:
            self.key = key.read().strip()
        self.control = Line(self.ports["control"])
        self.gateways = {"own": Line(self.ports["gateway"])}
        if with_node:
            self.start_node(at)

    def start_node(self, at):
        self.gateways["node"] = Line(self.ports["node_gateway"])
        os.makedirs(self.path("node"))
        with open(self.path("node/token"), "w", encoding="ascii") as token:
            token.write(self.operate("POST", "/v1/nodes", {"name": "east-1"})["token"])
        self.start("serve --role gateway", {
            "SERVER__DATA_DIR": self.path("node"), "SERVER__NODE": "east-1", "SERVER__GATEWAY_LISTEN": at["node_gateway"],
            "SERVER__ADMIN_LISTEN": at["node_admin"], "GATEWAY__CONTROL": json.dumps([at["door"]]),
            "GATEWAY__ENROLMENT_FILE": self.path("node/token"),
        })
        self.ready("node_admin")

    def path(self, name):
        return os.path.join(self.home, name)

    def start(self, words, settings):
        environment = {**os.environ, "ROWHOUSE_TELEMETRY__LOG_LEVEL": "warn", **{f"ROWHOUSE_{k}": v for k, v in settings.items()}}
        with open(self.path(f"{len(self.processes)}.log"), "wb") as log:
            self.processes.append(subprocess.Popen(
                [self.program, *words.split()], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def ready(self, name):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if Line(self.ports[name]).call("GET", "/health/ready")[0] == 200:
                    return
            except OSError:
                pass
            if any(process.poll() is not None for process in self.processes) or time.monotonic() > deadline:
                raise SystemExit("it does not start: " + self.logs())
            time.sleep(0.05)

    def logs(self):
        return "\n".join(open(self.path(f"{n}.log"), encoding="utf8").read() for n in range(len(self.processes)))

    def operate(self, method, path, body=None):
        status, content = self.control.call(method, path, body, authorization=f"Bearer {self.key}")
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {content.decode()}")
        return json.loads(content or "null")

    def nobody(self, path, body):
        status, content = self.control.call("POST", path, body)
        if status >= 300:
            raise SystemExit(f"{path}: {status} {content.decode()}")
        return json.loads(content or "null")

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.echo.shutdown()
        shutil.rmtree(self.home, ignore_errors=True)


def mailed(house, address):
    """The secret in the mail to somebody."""
    folder, deadline = house.path("data/messages"), time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), encoding="utf8", newline="") as file:
                text = file.read().replace("=\r\n", "").replace("=3D", "=")
            found = re.search(r"token=([0-9a-f]+)", text)
            if f"To: {address}" in text and found:
                return found[1]
        time.sleep(0.05)
    raise SystemExit(f"no mail to {address}")


def prepare(house):
    """A service whose routes everybody with a role may use, without limits in the way; a tenant, a person in it and a machine."""
    catalog = house.operate("GET", "/v1/catalog/export")
    for limit in catalog["limits"]:
        limit["quota"], limit["burst"] = 1_000_000, 1_000_000
        limit.pop("tiers", None)
    catalog["services"].append({"name": "echo", "upstreams": [f"127.0.0.1:{house.ports['echo']}"]})
    actions = ["create", "read", "update", "delete"]
    catalog["resource_types"].append({"name": "note", "service": "echo", "actions": actions, "role_defaults": "standard"})
    catalog["routes"].append({"name": "echo.notes", "service": "echo", "path": "/v1/notes/*", "resource_type": "note"})
    plan = house.operate("POST", "/v1/catalog/plan", catalog)
    house.operate("POST", "/v1/catalog/apply", {"plan": plan["digest"], "catalog": catalog, "prune": False})
    operation = house.operate("POST", "/v1/tenants", {
        "code": TENANT, "company_name": TENANT, "tier": "professional", "isolation": "shared"})["id"]
    while (state := house.operate("GET", f"/v1/operations/{operation}"))["state"] == "running":
        time.sleep(0.05)
    if state["state"] != "done":
        raise SystemExit(str(state))
    machine = house.operate("GET", f"/v1/service_accounts?tenant={TENANT}")["items"][0]["id"]
    house.operate("POST", f"/v1/invitations?tenant={TENANT}", {"email": "ana@acme.example", "roles": ["developer"]})
    accept = {"token": mailed(house, "ana@acme.example"), "full_name": "Ana Ito", "password": PASSWORD}
    return machine, house.nobody("/v1/invitations/accept", accept)["user"]


def sign_in(house, address="ana@acme.example"):
    flow = house.nobody("/v1/sign_in", {"identifier": address})["flow"]
    return house.nobody(f"/v1/sign_in/{flow}/password", {"password": PASSWORD})["access_token"]
