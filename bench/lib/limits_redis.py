"""Limits in a real Redis: what several in one call cost it, and whether leases ever let more in than the limit."""

import random
import socket
import subprocess
import time

GATEWAYS = 32
QUOTA = 162_000
COST = 1_500


class Redis:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        words = [str(word).encode() for word in words]
        head = b"*%d\r\n" % len(words)
        self.socket.sendall(head + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))

    def read(self):
        line = self.file.readline().rstrip()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return rest.decode()

    def ask(self, *words):
        self.send(*words)
        return self.read()


def start():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    until = time.monotonic() + 20
    while True:
        try:
            return server, Redis(port)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def in_server_us(redis, *commands):
    """What the server itself says that calls of these commands took, in all."""
    lines = redis.ask("INFO", "commandstats").splitlines()
    told = [line for line in lines if line.split(":")[0].removeprefix("cmdstat_") in commands]
    return sum(int(line.split("usec=")[1].split(",")[0]) for line in told)


def quartile(redis, batches, command, send):
    """Per call of `send`, in batches of 100. Time is by the clock, in which others may have had the processor: the quartile is what is least
    disturbed."""
    took = []
    for _ in range(batches):
        redis.ask("CONFIG", "RESETSTAT")
        answers = sum(send() for _ in range(100))
        for _ in range(answers):
            redis.read()
        took.append(in_server_us(redis, *command) / 100)
    return round(sorted(took)[len(took) // 4], 1)


def limits_in_one_call(redis, count, batches):
    kinds = ["b", "w", "f", "b", "w", "f"][:count]
    rule = [1_000_000_000, 60_000, 1_000, 1_000_000_000]
    dice = random.Random(7)

    def send():
        tenant = dice.randrange(1_000)
        keys = [f"rh:{{b{tenant}}}:limit-{place}:bm:{tenant:032x}" for place in range(count)]
        redis.send("FCALL", "rh1_take", count, *keys, "", *[word for kind in kinds for word in [kind, *rule, 1, 0]])
        return 1

    return quartile(redis, batches, ["fcall"], send)


def six_windows_of_others(redis, batches):
    """As Envoy's rate limit service counts: INCRBY and EXPIRE of a key for each window, pipelined. It knows fixed windows only, and what is
    refused is charged."""
    dice = random.Random(7)

    def send():
        tenant = dice.randrange(1_000)
        for place in range(6):
            key = f"other_{tenant}_{place}_1795262400"
            redis.send("INCRBY", key, 1)
            redis.send("EXPIRE", key, 60)
        return 12

    return quartile(redis, batches, ["incrby", "expire"], send)


def overshoot(redis, round_number):
    """32 gateways and one fixed window of a month: requests of 1,500 units come at random. Each gateway spends leases that it takes for a
    tenth of a second's use, and asks for what they do not hold, as `path/together.rs` does. How much was let in above the limit; and how
    little below it, in percent, of such requests when all leases have ended."""
    key = f"one-{round_number}"
    rule = ["f", QUOTA, 2_678_400, 1_000_000, QUOTA]
    dice = random.Random(11 + round_number)
    leases, numbers, admitted, refused = [0] * GATEWAYS, [0] * GATEWAYS, 0, 0

    def take(cost):
        return redis.ask("FCALL", "rh1_take", 1, key, "", *rule, cost, 0)[0] == 1

    while refused < 4 * GATEWAYS:
        gateway = dice.randrange(GATEWAYS)
        if leases[gateway] < COST:
            wanted = dice.randrange(COST // 2, 4 * COST)
            granted, _, _, _, number = redis.ask("FCALL", "rh1_lease", 1, key, "", *rule, wanted, GATEWAYS)
            if granted:
                leases[gateway], numbers[gateway] = leases[gateway] + granted, number
        if leases[gateway] >= COST:
            leases[gateway] -= COST
            admitted += COST
        elif take(COST):
            admitted += COST
        else:
            refused += 1
    # Leases end within the second, and what they had left is given back.
    for gateway, left in enumerate(leases):
        if left:
            redis.ask("FCALL", "rh1_return", 1, key, "", *rule, left, numbers[gateway])
    while take(COST):
        admitted += COST
    under = QUOTA - admitted
    while take(1):
        admitted += 1
    return admitted - QUOTA, 100 * under / QUOTA


def measured_in_redis(library, quick):
    """The figures, from a redis-server of its own on a free port. `library` is the file of the functions."""
    server, redis = start()
    try:
        with open(library, encoding="utf-8") as text:
            redis.ask("FUNCTION", "LOAD", "REPLACE", text.read())
        batches = 50 if quick else 400
        calls = {"one": 1, "four": 4, "six": 6}
        figures = {f"redis_{name}_limits_us": limits_in_one_call(redis, count, batches) for name, count in calls.items()}
        figures["redis_six_windows_of_others_us"] = six_windows_of_others(redis, batches)
        outcomes = [overshoot(redis, number) for number in range(5 if quick else 50)]
        figures["overshoot"] = max(over for over, _ in outcomes)
        figures["under_admitted_percent"] = round(max(under for _, under in outcomes), 2)
        return figures
    finally:
        server.terminate()
        server.wait()
