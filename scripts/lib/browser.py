"""Security keys and passkeys in a real browser: Chromium with a virtual authenticator (CDP `WebAuthn`), against a server of our own.

A person is invited, signs in with a password, adds a passkey on the account page, signs out, signs in with the passkey alone, is not let in
with an authenticator that verifies nobody, is refused with
a copy whose counter is behind, and shows the passkey as a second factor behind the password. Then an administrator of the organisation
sets it all up (`administrator.py`), and lets a command line in by its code. Standard
library only; the browser is spoken to over a pipe. Usage: browser.py ROWHOUSE_BINARY CHROMIUM [FOLDER]: with a folder, pictures of the
pages are put there, wide and narrow, light and dark.
"""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import types
import urllib.parse
import urllib.request

from administrator import CHIEF, Walk
from surroundings import Dns

PATIENCE_S = 120
PASSWORD = "correct horse battery staple"
MAIL = "ana@acme.example"


def free_port():
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


def until(what, look):
    """The first true answer of `look`."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"not seen in {PATIENCE_S} s: {what}")


class Server:
    def __init__(self, binary, home, dns):
        self.home, self.binary = home, binary
        gateway, self.port, admin = free_port(), free_port(), free_port()
        self.url = f"http://localhost:{self.port}"
        listen = {"GATEWAY": gateway, "CONTROL": self.port, "ADMIN": admin}
        environment = dict(os.environ, ROWHOUSE_SERVER__DATA_DIR=home, ROWHOUSE_SERVER__PUBLIC_URL=self.url)
        for name, port in listen.items():
            environment[f"ROWHOUSE_SERVER__{name}_LISTEN"] = f"127.0.0.1:{port}"
        environment["ROWHOUSE_TENANCY__RESOLVERS"] = json.dumps(dns.addresses)
        # The provider is on loopback, and speaks plain HTTP.
        environment["ROWHOUSE_OUTBOUND__ALLOW_NETWORKS"] = '["127.0.0.0/8"]'
        log = open(os.path.join(home, "rowhouse.log"), "ab")
        self.process = subprocess.Popen([binary, "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until("the server is ready", lambda: self.status(f"http://127.0.0.1:{admin}/health/ready") == 200)
        with open(os.path.join(home, "secrets/operator.key")) as file:
            self.operator = file.read().strip()

    @staticmethod
    def status(url):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status
        except OSError:
            return None

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.operator}", "content-type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def mailed_link(self, to=MAIL):
        folder = os.path.join(self.home, "messages")
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), errors="replace") as file:
                text = file.read().replace("=\n", "").replace("=\r\n", "").replace("=3D", "=")
            found = re.search(r"token=([0-9a-f]{64})", text)
            if f"To: {to}" in text and found:
                return found.group(1)
        return None


class Browser:
    """One page of Chromium."""

    def __init__(self, binary, home):
        to_browser, from_us = os.pipe()
        to_us, from_browser = os.pipe()
        flags = [
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--remote-debugging-pipe", f"--user-data-dir={home}", "about:blank",
        ]
        words = " ".join([f"exec {binary}", *flags, f"3<&{to_browser}", f"4>&{from_browser}"])
        self.process = subprocess.Popen(
            ["bash", "-c", words], pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.out, self.into, self.kept, self.number = to_us, from_us, b"", 0
        os.set_blocking(self.out, False)
        target = self.send("Target.createTarget", {"url": "about:blank"}, None)["targetId"]
        attached = self.send("Target.attachToTarget", {"targetId": target, "flatten": True}, None)
        self.session = attached["sessionId"]
        for domain in ["Page", "Runtime", "Network", "WebAuthn"]:
            self.send(f"{domain}.enable", {})

    def send(self, method, parameters, session=""):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = self.session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        number = self.number

        def answered():
            try:
                self.kept += os.read(self.out, 1 << 20)
            except BlockingIOError:
                pass
            while b"\0" in self.kept:
                one, self.kept = self.kept.split(b"\0", 1)
                told = json.loads(one)
                if told.get("id") == number:
                    return told
            return None

        told = until(method, answered)
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']}")
        return told.get("result") or {"ok": True}

    def run(self, script):
        try:
            told = self.send("Runtime.evaluate", {"expression": script, "returnByValue": True, "awaitPromise": True})
        except RuntimeError:
            return None  # The page went away meanwhile.
        return told.get("result", {}).get("value")

    def open(self, url):
        self.send("Page.navigate", {"url": url})
        self.sees("the page is whole", "document.readyState === 'complete'")

    def sees(self, what, script):
        return until(what, lambda: self.run(script))

    def authenticator(self, verifies, resident=True):
        options = {
            "protocol": "ctap2", "transport": "internal" if resident else "usb", "hasResidentKey": resident,
            "hasUserVerification": verifies, "isUserVerified": verifies, "automaticPresenceSimulation": True,
        }
        return self.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def looked_over(self, name):
        """That axe finds nothing to object to: names of fields, order of headings, contrast, and what else a program can see."""
        with open("target/provider/node_modules/axe-core/axe.min.js") as file:
            self.send("Runtime.evaluate", {"expression": file.read()})
        found = self.run("""axe.run(document, { resultTypes: ['violations'] }).then((told) =>
            told.violations.map((own) => `${own.id}: ${own.nodes.map((node) => node.html).join(' ')}`))""")
        assert found == [], f"{name}: {found}"

    def pictures(self, folder, name):
        """The page as it is, wide and narrow, light and dark; nothing may stick out."""
        for shape, width in [("wide", 1280), ("narrow", 375)]:
            self.send("Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False})
            fits = self.run("document.documentElement.scrollWidth <= window.innerWidth")
            assert fits, f"{name} is wider than a {shape} window"
            for tone in ["light", "dark"] if folder else []:
                self.paints(tone)
                shot = self.send("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
                with open(os.path.join(folder, f"{name}-{shape}-{tone}.png"), "wb") as file:
                    file.write(base64.b64decode(shot["data"]))
        self.send("Emulation.clearDeviceMetricsOverride", {})
        for tone in ["light", "dark"]:
            self.paints(tone)
            self.looked_over(f"{name} ({tone})")

    def paints(self, tone):
        self.send("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": tone}]})

    def submit(self, form, **fields):
        """Fills a form and presses its button."""
        for name, value in fields.items():
            self.run(f"document.querySelector({json.dumps(form)}).elements[{json.dumps(name)}].value = {json.dumps(value)}")
        self.run(f"document.querySelector({json.dumps(form)}).querySelector('button').click(), true")


def has(text):
    return f"document.body && document.body.innerText.includes({json.dumps(text)})"


SIGN_IN = "form[action='/account/sign_in']"
KEY = "form[data-key]"


def step(name):
    return f"form:has(input[name=step][value={name}])"


def told(what):
    print(f"ok  {what}", flush=True)


def by_password(browser, url):
    browser.open(f"{url}/account/sign_in?with=password")
    browser.submit(SIGN_IN, identifier=MAIL, password=PASSWORD)


def sign_out(browser):
    browser.submit(step("sign_out"))
    browser.sees("signed out", has("Sign in with a passkey"))


def story(server, browser, folder):
    server.call("/v1/tenants", {"code": "acme", "company_name": "Acme", "tier": "basic", "isolation": "shared"})
    until("the tenant is served", lambda: server.call("/v1/tenants/acme")["status"] == "active")
    server.call("/v1/invitations?tenant=acme", {"email": MAIL, "roles": ["user"]})
    token = until("the invitation is mailed", server.mailed_link)
    accept = {"token": token, "full_name": "Ana <b>Ito</b>", "password": PASSWORD}
    server.call("/v1/invitations/accept", accept)
    url = server.url

    for path in ["sign_in", "reset", "sso"]:
        browser.open(f"{url}/account/{path}")
        browser.pictures(folder, path)
    by_password(browser, url)
    browser.sees("the account page", has("Add a passkey"))
    told("signs in with a password")

    passkeys = browser.authenticator(verifies=True)
    browser.submit(f"{step('add_key')}:has(input[value=passkey])")
    browser.sees("the page that makes a passkey", has("Your browser asks for fingerprint"))
    browser.submit(KEY)
    browser.sees("recovery codes", has("Keep these recovery codes"))
    browser.pictures(folder, "codes")
    browser.open(f"{url}/account")
    browser.sees("the passkey is listed", has("Passkey"))
    kept = browser.send("WebAuthn.getCredentials", {"authenticatorId": passkeys})["credentials"]
    assert [one["rpId"] for one in kept] == ["localhost"], kept
    browser.pictures(folder, "account")
    told("adds a passkey, which the authenticator keeps for our host")

    sign_out(browser)
    browser.submit(KEY)
    browser.sees("signed in by the passkey", has("Sign out"))
    assert browser.run(has("passkey")), "the session says what was shown"
    told("signs in with the passkey alone")

    sign_out(browser)
    browser.send("WebAuthn.setUserVerified", {"authenticatorId": passkeys, "isUserVerified": False})
    browser.submit(KEY)
    browser.sees("no way in unverified", has("The browser did not give a key"))
    told("is not let in where nobody is verified")

    browser.send("WebAuthn.setUserVerified", {"authenticatorId": passkeys, "isUserVerified": True})
    one = kept[0]
    one["signCount"] = 0
    browser.send("WebAuthn.removeCredential", {"authenticatorId": passkeys, "credentialId": one["credentialId"]})
    browser.send("WebAuthn.addCredential", {"authenticatorId": passkeys, "credential": one})
    browser.open(f"{url}/account/sign_in")
    browser.submit(KEY)
    browser.sees("a copy is refused", has("The passkey is not right"))
    told("is refused with a copy whose counter is behind")

    by_password(browser, url)
    browser.sees("the second factor is asked for", has("Use a security key or passkey"))
    one["signCount"] = 1000
    browser.send("WebAuthn.removeCredential", {"authenticatorId": passkeys, "credentialId": one["credentialId"]})
    browser.send("WebAuthn.addCredential", {"authenticatorId": passkeys, "credential": one})
    browser.submit(KEY)
    browser.sees("signed in with both", has("Sign out"))
    told("shows it as a second factor behind the password")
    allows(server, browser, folder)


def allows(server, browser, folder):
    """A program asks; its address is on our own server, where nobody listens for it, so the way back is all that is looked at."""
    back = f"{server.url}/not/here"
    made = server.call("/v1/applications?tenant=acme", {"name": "Reports & <more>", "kind": "public", "redirect_uris": [back]})
    asked = {
        "response_type": "code", "client_id": made["id"], "redirect_uri": back, "state": "xyz", "scope": "openid email",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256",
    }
    browser.open(f"{server.url}/oauth2/authorize?{urllib.parse.urlencode(asked)}")
    browser.sees("who asks", has("Reports & <more>"))
    browser.pictures(folder, "authorize")
    browser.submit("form:has(input[name=decision][value=yes])")
    browser.sees("back at the program", "location.href.includes('/not/here?code=') && location.href.includes('state=xyz')")
    told("allows a program, and the browser lets the form lead there")


def lets_in(server, browser, folder):
    """A command line on a machine without a browser, by its code."""
    url = server.url
    environment = dict(os.environ, XDG_CONFIG_HOME=os.path.join(server.home, "config"), ROWHOUSE_URL=f"http://127.0.0.1:{server.port}")
    program = subprocess.Popen([server.binary, "login"], env=environment, stderr=subprocess.PIPE, text=True)
    lines = [program.stderr.readline() for _ in range(2)]
    shown = lines[1].split()[-1]
    browser.open(f"{url}/account/device")
    browser.submit(step("look"), user_code=shown.lower())
    browser.sees("what asks", has("It runs at"))
    browser.pictures(folder, "device")
    browser.submit(step("yes"))
    browser.sees("it is signed in", has("The program is signed in."))
    assert program.wait(PATIENCE_S) == 0, program.stderr.read()
    kept = os.path.join(server.home, "config/rowhouse/session.json")
    assert os.stat(kept).st_mode & 0o777 == 0o600, oct(os.stat(kept).st_mode)
    listed = subprocess.run([server.binary, "user", "list"], env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert CHIEF in listed.stdout, listed
    subprocess.run([server.binary, "logout"], env=environment, check=True, stderr=subprocess.DEVNULL, timeout=PATIENCE_S)
    assert not os.path.exists(kept), "the session is gone"
    told("lets a command line in by its code")


def main():
    binary, chromium = sys.argv[1:3]
    folder = sys.argv[3] if len(sys.argv) > 3 else None
    home = tempfile.mkdtemp(prefix="rowhouse-browser-")
    os.chmod(home, 0o755)
    server = browser = None
    try:
        data = os.path.join(home, "data")
        os.mkdir(data)
        dns = Dns()
        server = Server(binary, data, dns)
        browser = Browser(chromium, os.path.join(home, "profile"))
        story(server, browser, folder)
        tools = types.SimpleNamespace(
            folder=folder, has=has, step=step, told=told, until=until, free_port=free_port, sign_in=SIGN_IN, password=PASSWORD,
        )
        Walk(server, browser, dns, tools).whole()
        lets_in(server, browser, folder)
    finally:
        for one in (browser, server):
            if one:
                one.process.terminate()
                try:
                    one.process.wait(30)
                except subprocess.TimeoutExpired:
                    one.process.kill()
        shutil.rmtree(home, ignore_errors=True)


main()
