"""Measures how long what was taken back is still let in: a key that is revoked, a grant that is taken back, a session that ends.

Starts Rowhouse on an empty directory, with a second gateway that is a process of its own (`serve --role gateway`), and one service that
answers whatever it is asked. In each round something that both gateways have just let in is taken back over the API, and both are asked
again and again until they refuse it. A time begins before the call that takes it back is sent, and ends with the first refusal's answer, so
that the call itself is within it. Prints one JSON object.

Usage: revocation.py PROGRAM ROUNDS
"""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
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
    def __init__(self, program):
        self.ports = free_ports()
        self.home = tempfile.mkdtemp(prefix="rowhouse-bench-revocation-")
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
        self.gateways = {"own": Line(self.ports["gateway"]), "node": Line(self.ports["node_gateway"])}
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

    def asked(self, name, credential):
        """What a gateway answers to who shows this."""
        status, content = self.gateways[name].call(
            "GET", "/v1/notes/7", host=f"{TENANT}.localhost", authorization=f"Bearer {credential}")
        if status in (429, 503):
            raise SystemExit(f"refused for another reason: {status} {content.decode()}")
        return status

    def until_let_in(self, credential):
        deadline = time.monotonic() + PATIENCE_S
        for name in self.gateways:
            while self.asked(name, credential) != 200:
                if time.monotonic() > deadline:
                    raise SystemExit(f"{name} does not let it in")
                time.sleep(0.005)

    def until_refused(self, credential, take_back):
        """Seconds until each refuses."""
        begun, waiting, took = time.monotonic(), set(self.gateways), {}
        take_back()
        while waiting:
            for name in sorted(waiting):
                status = self.asked(name, credential)
                if status in (401, 403):
                    took[name] = time.monotonic() - begun
                    waiting.discard(name)
            if time.monotonic() - begun > PATIENCE_S:
                raise SystemExit(f"{waiting} still let it in")
            time.sleep(0.001)
        return took


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


def sign_in(house):
    flow = house.nobody("/v1/sign_in", {"identifier": "ana@acme.example"})["flow"]
    return house.nobody(f"/v1/sign_in/{flow}/password", {"password": PASSWORD})["access_token"]


def rounds(house, count):
    machine, person = prepare(house)
    took = {(what, name): [] for what in ("key", "grant", "session") for name in house.gateways}

    def keep(what, credential, take_back):
        house.until_let_in(credential)
        for name, seconds in house.until_refused(credential, take_back).items():
            took[what, name].append(seconds * 1000)

    token = sign_in(house)
    grant = house.operate("GET", f"/v1/grants?tenant={TENANT}&principal={person}")["items"][0]["id"]
    for number in range(count):
        if number % 5 < 2:
            body = {"name": "bench", "owner": {"kind": "service_account", "id": machine}, "roles": ["developer"]}
            key = house.operate("POST", f"/v1/keys?tenant={TENANT}", body)
            keep("key", key["key"], lambda own=key["id"]: house.operate("POST", f"/v1/keys/{own}/revoke", {"reason": "a bench"}))
        elif number % 5 < 4:
            keep("grant", token, lambda own=grant: house.operate("DELETE", f"/v1/grants/{own}"))
            body = {"principal": {"kind": "user", "id": person}, "role": "developer"}
            grant = house.operate("POST", f"/v1/grants?tenant={TENANT}", body)["id"]
        else:
            other = sign_in(house)
            keep("session", other, lambda own=other: house.control.call(
                "POST", "/v1/me/sign_out", {}, authorization=f"Bearer {own}"))
    return took


def main():
    program, count = os.path.abspath(sys.argv[1]), int(sys.argv[2])
    house = House(program)
    try:
        took = rounds(house, count)
    finally:
        house.stop()

    def share(found, percent):
        return round(sorted(found)[(len(found) - 1) * percent // 100], 1)
    figures = {"revocation_rounds": count}
    everything = [one for found in took.values() for one in found]
    figures["revocation_p50_ms"], figures["revocation_p99_ms"] = share(everything, 50), share(everything, 99)
    figures["revocation_max_ms"] = round(max(everything), 1)
    for (what, name), found in took.items():
        figures[f"revocation_{what}_{name}_p50_ms"] = share(found, 50)
        figures[f"revocation_{what}_{name}_max_ms"] = round(max(found), 1)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
