"""An echo service of WebSockets, or a client of it through the gateway: `server`, or `client WHAT ADDRESS KEY`.

Each says a line for each thing that happens.
"""

import os
import socket
import sys
import threading

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve


def say(line):
    print(line, flush=True)


def echo(connection):
    tenant = connection.request.headers.get("Rowhouse-Tenant")
    assert tenant, connection.request.headers
    try:
        while True:
            connection.send(connection.recv())
    except ConnectionClosed as closed:
        say(closed.rcvd.code if closed.rcvd else "cut")


def server():
    with serve(echo, "127.0.0.1", 0, max_size=None, compression=None) as own:
        say(own.socket.getsockname()[1])
        own.serve_forever()


def client(what, address, key):
    host, port = address.rsplit(":", 1)
    try:
        with connect(
            "ws://acme.example.test/v1/work/live",
            sock=socket.create_connection((host, int(port))),
            additional_headers={"Authorization": f"Bearer {key}"},
            compression=None,
            max_size=None,
            ping_interval=None,
        ) as connection:
            talk(connection, what)
    except InvalidStatus as error:
        say(f"refused {error.response.status_code}")


def talk(connection, what):
    if what == "echo":
        large = os.urandom(200_000)
        for message in ("h\u00e9llo", large):
            connection.send(message)
            assert connection.recv(timeout=20) == message
        # In fragments, which are one message.
        connection.send(iter(["a", "b", "c"]))
        assert connection.recv(timeout=20) == "abc"
        assert connection.ping().wait(20)
        connection.close(1000)
        say("ok")
        return

    def told():
        for line in sys.stdin:
            connection.send(line.strip())

    connection.send("open")
    say(connection.recv(timeout=20))
    threading.Thread(target=told, daemon=True).start()
    try:
        while True:
            say(connection.recv(timeout=60))
    except ConnectionClosed as closed:
        say(f"{closed.rcvd.code} {closed.rcvd.reason}" if closed.rcvd else "cut")


if sys.argv[1] == "server":
    server()
else:
    client(*sys.argv[2:])
