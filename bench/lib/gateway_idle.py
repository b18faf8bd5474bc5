"""Memory that connections hold which were used once and rest."""

import os
import socket

from gateway_measure import PATH, Running

COUNT = 10_000
# One address holds so many connections at ours that these are enough.
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 8)]


def anonymous_kib(root):
    """Memory of its own that a process and its children have."""
    kib = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/status", encoding="utf8") as lines:
                status = dict(line.rstrip("\n").split(":", 1) for line in lines if ":" in line)
        except OSError:
            continue
        if int(pid) == root or int(status["PPid"]) == root:
            kib += int(status.get("RssAnon", "0 kB").split()[0])
    return kib


def ask(connection, host, name, value):
    header = f"{name}: {value}\r\n" if name else ""
    connection.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n".encode())
    seen = b""
    while b"\r\n\r\n" not in seen:
        piece = connection.recv(65_536)
        if not piece:
            raise SystemExit("a connection was closed instead of answered")
        seen += piece
    head, _, body = seen.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65_536)
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 429")):
        raise SystemExit(f"not answered as it should be: {head[:80]!r}")


def connect(number, port):
    return socket.create_connection(("127.0.0.1", port), 10, (ADDRESSES[number % len(ADDRESSES)], 0))


def idle(contestant, home, files):
    """MiB for 10,000 connections over which one request went each."""
    with Running(contestant, home) as running:
        identities = [("127.0.0.1", None, None)]
        if contestant.name in files:
            with open(files[contestant.name](contestant), encoding="ascii") as lines:
                identities = [tuple(line.rstrip("\n").split(" ", 2)) for line in lines]
        warm = [connect(number, contestant.port) for number in range(100)]
        for number, connection in enumerate(warm):
            ask(connection, *identities[number % len(identities)])
        before = anonymous_kib(running.process.pid)
        open_now = []
        for number in range(COUNT):
            open_now.append(connect(number, contestant.port))
            ask(open_now[-1], *identities[number % len(identities)])
        kib = anonymous_kib(running.process.pid) - before
        for connection in warm + open_now:
            connection.close()
    return round(kib / 1024, 1)
