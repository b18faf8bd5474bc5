"""Starting, checking and measuring one contestant of bench/gateway at a time."""

import base64
import http.client
import json
import os
import ssl
import statistics
import subprocess
import time

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gateway_load.lua")
CONNECTIONS = 64
PATH = "/v1/stamps/42"


class Running:
    """A process that answers; ended by its own id when the block ends."""

    def __init__(self, contestant, home):
        self.contestant, self.home = contestant, home

    def __enter__(self):
        contestant = self.contestant
        if not contestant.command:
            return self
        log = open(os.path.join(self.home, f"{contestant.name}.log"), "ab")
        self.process = subprocess.Popen(
            contestant.command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.home,
            env={**os.environ, **contestant.environment})
        log.close()
        deadline = time.monotonic() + 30
        while True:
            try:
                if status(contestant)[0] in (404, 502, 503):
                    raise OSError("not ready")
                return self
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    with open(os.path.join(self.home, f"{contestant.name}.log"), encoding="utf8") as log:
                        raise SystemExit(f"{contestant.name} does not start: {error}\n{log.read()[-2000:]}") from error
                time.sleep(0.02)

    def __exit__(self, *_):
        if not self.contestant.command:
            return
        if self.contestant.ours:
            self.process.stdin.close()
        else:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.contestant.name != "upstream":
            for name in os.listdir(self.home):
                if name.endswith("-access.json") or name == "haproxy-policy.log":
                    os.truncate(os.path.join(self.home, name), 0)


def identities(contestant, tenants):
    """`host header value` of every key, in the contestant's own form."""
    if contestant.ours:
        with open(contestant.keys, encoding="ascii") as lines:
            pairs = [line.split() for line in lines]
    else:
        pairs = [(f"{tenant}.example.test", key) for key, tenant in tenants.items()]
    name, form = contestant.header
    for host, key in pairs:
        basic = base64.b64encode(f"{key}:secret".encode()).decode()
        yield host, name, form.format(key=key, basic=basic)


def status(contestant, host="127.0.0.1", name=None, value=None):
    if contestant.tls:
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", contestant.port, timeout=5, context=anybody)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", contestant.port, timeout=5)
    try:
        connection.request("GET", PATH, headers={"Host": host, **({name: value} if name else {})})
        answer = connection.getresponse()
        return answer.status, len(answer.read())
    except http.client.HTTPException as error:
        raise OSError(error) from error
    finally:
        connection.close()


def check(contestant, identities_file):
    """200 with the whole body; with a policy also 401 for no key and an unknown one, and 429 in a flood."""
    def expect(what, seen, wanted):
        if seen != wanted:
            raise SystemExit(f"{contestant.name}: {what}: {seen} and not {wanted}")

    if not contestant.policy:
        expect("a request", status(contestant), (200, 514))
        return
    with open(identities_file, encoding="ascii") as lines:
        host, name, value = lines.readline().rstrip("\n").split(" ", 2)
    expect("a known key", status(contestant, host, name, value), (200, 514))
    expect("no key", status(contestant, host)[0], 401)
    unknown = ("Basic " + base64.b64encode(b"nobody:secret").decode()) if name == "Authorization" else "unknown"
    expect("an unknown key", status(contestant, host, name, unknown)[0], 401)
    if wrk(contestant, 1, identities_file, "flood")["refused"] == 0:
        raise SystemExit(f"{contestant.name}: a flood with one key is not refused")


def wrk(contestant, seconds, *arguments):
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", SCRIPT,
               f"http{'s' if contestant.tls else ''}://127.0.0.1:{contestant.port}{PATH}", *arguments]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(next(line for line in out.splitlines() if line.startswith("{")))


def measure(contestant, process, upstream, identities_file, warm, seconds):
    """One round: throughput, latency and CPU time per request, of the contestant and of the upstream."""
    what = identities_file if contestant.policy else "plain"
    wrk(contestant, warm, what)
    watched = (process or upstream).pid
    before, upstream_before = cpu(watched), cpu(upstream.pid)
    load = wrk(contestant, seconds, what)
    used = [after - then for after, then in zip(cpu(watched), before)]
    upstream_used = sum(cpu(upstream.pid)) - sum(upstream_before)
    if load["bad_status"] or load["errors"]:
        raise SystemExit(f"{contestant.name}: not every request was answered with 200: {load}")
    count = load["requests"]
    return {
        "us": sum(used) * 1e6 / count, "user_us": used[0] * 1e6 / count, "kernel_us": used[1] * 1e6 / count,
        "upstream_us": upstream_used * 1e6 / count, "rps": count * 1e6 / load["us"],
        "p50_us": load["p50_us"], "p99_us": load["p99_us"],
    }


TICK = os.sysconf("SC_CLK_TCK")


def cpu(root):
    """User and system seconds of a process and all below it that live."""
    stats = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf8", errors="replace") as stat:
                fields = stat.read().rpartition(") ")[2].split()
        except OSError:
            continue
        stats[int(pid)] = (int(fields[1]), int(fields[11]) / TICK, int(fields[12]) / TICK)
    tree, grown = {root}, True
    while grown:
        more = {pid for pid, (parent, _, _) in stats.items() if parent in tree} - tree
        tree |= more
        grown = bool(more)
    own = [stats[pid] for pid in tree if pid in stats]
    return sum(user for _, user, _ in own), sum(system for _, _, system in own)


def rounds_of(contestants, home, upstream, files, rounds, warm, seconds):
    """Interleaved rounds; the order turns, so that no contestant always follows the same one."""
    results = {contestant.name: [] for contestant in contestants}
    for number in range(rounds):
        turn = number % len(contestants)
        order = contestants[turn:] + contestants[:turn]
        for contestant in order[::-1] if number % 2 else order:
            with Running(contestant, home) as running:
                refresh = files.get(contestant.name)
                path = refresh(contestant) if refresh else None
                process = getattr(running, "process", None)
                results[contestant.name].append(measure(contestant, process, upstream, path, warm, seconds))
    return results


def paced(pace, contestant, rps, seconds, identities_file):
    """Latency under `rps` requests per second, evenly spaced, each counted from when it was due (examples/bench_pace.rs)."""
    command = [pace, "--to", f"127.0.0.1:{contestant.port}", "--rps", str(round(rps)), "--seconds", str(seconds),
               "--connections", str(CONNECTIONS), "--path", PATH]
    command += ["--identities", identities_file] if identities_file else []
    load = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if load["bad_status"]:
        raise SystemExit(f"{contestant.name}: not every request was answered with 200: {load}")
    return load


def added(pace, contestants, home, files, rps, rounds, seconds):
    """Latency that a contestant adds to the upstream's own when all get the same `rps` requests per second: per round, by name,
    (p50, p99) in microseconds. The first contestant is the upstream itself."""
    seen = {contestant.name: [] for contestant in contestants[1:]}
    for number in range(rounds):
        own = contestants[1:] if number % 2 else contestants[:0:-1]
        bare = paced(pace, contestants[0], rps, seconds, None)
        for contestant in own:
            with Running(contestant, home):
                what = files[contestant.name](contestant) if contestant.policy else None
                paced(pace, contestant, rps, 1, what)
                load = paced(pace, contestant, rps, seconds, what)
                seen[contestant.name].append((load["p50_us"] - bare["p50_us"], load["p99_us"] - bare["p99_us"]))
    return {name: tuple(statistics.median(one[at] for one in rounds) for at in (0, 1)) for name, rounds in seen.items()}
