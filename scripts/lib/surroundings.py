"""What surrounds an organisation: the name servers of its domain, and its own provider of identities. Standard library only; the provider
is the certified one of npm, which `install_provider` puts below target."""

import json
import os
import shutil
import socket
import struct
import subprocess
import threading


class Dns:
    """Two name servers on loopback that know the same TXT records, and nothing else (RFC 1035 §4.1)."""

    def __init__(self):
        self.records, self.addresses = {}, []
        for _ in range(2):
            own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            own.bind(("127.0.0.1", 0))
            self.addresses.append(f"127.0.0.1:{own.getsockname()[1]}")
            threading.Thread(target=self.serve, args=(own,), daemon=True).start()

    def serve(self, own):
        while True:
            question, client = own.recvfrom(4096)
            try:
                own.sendto(self.answer(question), client)
            except (IndexError, struct.error, UnicodeDecodeError):
                pass  # What is no question gets no answer.

    def answer(self, question):
        labels, at = [], 12
        while question[at]:
            length = question[at]
            labels.append(question[at + 1 : at + 1 + length].decode("ascii"))
            at += 1 + length
        kind, end = struct.unpack("!H", question[at + 1 : at + 3])[0], at + 5
        text = self.records.get(".".join(labels).lower()) if kind == 16 else None
        head = question[:2] + struct.pack("!HHHHH", 0x8580, 1, 1 if text else 0, 0, 0)
        if not text:
            return head + question[12:end]
        parts = [text.encode()[i : i + 200] for i in range(0, len(text), 200)]
        data = b"".join(bytes([len(part)]) + part for part in parts)
        return head + question[12:end] + b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 0, len(data)) + data


class Provider:
    """npm `oidc-provider`: whoever logs in is the account of that name at acme.example."""

    SECRET = "a secret with: signs & blanks"

    def __init__(self, port, redirect=None):
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        folder = os.path.abspath("target/provider")
        # Node.js looks for the library beside the program.
        program = os.path.join(folder, f"provider-{port}.mjs")
        shutil.copy("crates/rowhouse/tests/provider/provider.mjs", program)
        settings = {"port": port, "secret": self.SECRET}
        if redirect:
            settings["redirect_uri"] = redirect
        node = os.path.abspath("target/venv/bin/node")
        self.process = subprocess.Popen(
            [node if os.path.exists(node) else "node", program, json.dumps(settings)],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        while True:
            line = self.process.stdout.readline()
            if line.strip() == "ready":
                break
            if not line:
                raise SystemExit("the provider did not start")
        os.remove(program)

    def stop(self):
        # It ends with its input; what is started may be a shell around it, which it would outlive.
        self.process.stdin.close()
        self.process.wait(60)
