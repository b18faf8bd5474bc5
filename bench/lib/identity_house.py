"""Measures signing in at a running Rowhouse: whether the time of an answer tells who exists; how long a right password takes; what three
hundred who come at once do to memory and to the gateway; and what a token for a machine costs beside npm's `oidc-provider`.

Every try comes from a loopback address of its own, because failures are counted by address. Prints one JSON object.

Usage: identity_house.py PROGRAM HASH_MS [--quick]
"""

import base64
import http.client
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time

from house import PASSWORD, TENANT, House, free_ports, mailed, prepare

WRONG = "a password of nobody at all"
SECRET = "a-secret-for-machines"
WRK = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/x-www-form-urlencoded"
wrk.headers["authorization"] = "Basic {basic}"
wrk.body = "grant_type=client_credentials"
function done(summary)
  io.write(string.format("%d %d %d\\n", summary.requests, summary.duration, summary.errors.status))
end
"""


class Source:
    """Loopback addresses, each once."""

    def __init__(self):
        self.next = 256

    def line(self, port):
        self.next += 1
        number = self.next
        address = f"127.{number >> 16 & 255 or 1}.{number >> 8 & 255}.{number & 255 or 1}"
        return http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))


def post(line, path, body):
    """Status and seconds, from the first byte sent to the last received."""
    text = json.dumps(body)
    begun = time.perf_counter()
    line.request("POST", path, text, {"content-type": "application/json"})
    answer = line.getresponse()
    content = answer.read()
    return answer.status, time.perf_counter() - begun, json.loads(content or "null")


def tries(line, name, password):
    """A sign-in: the seconds of its beginning and of its password, and what came of that."""
    status, begin, started = post(line, "/v1/sign_in", {"identifier": name})
    if status != 200:
        raise SystemExit(f"{status} {started}")
    status, took, answer = post(line, f"/v1/sign_in/{started['flow']}/password", {"password": password})
    return begin, took, status, answer


def auc(ours, others):
    """How likely one of `ours` took longer than one of `others`: 0.5 tells nothing, 0 and 1 everything."""
    every = sorted([(value, 1) for value in ours] + [(value, 0) for value in others])
    ranks = sum(rank for rank, (_, mine) in enumerate(every, 1) if mine)
    return (ranks - len(ours) * (len(ours) + 1) / 2) / (len(ours) * len(others))


def at(found, percent):
    return sorted(found)[(len(found) - 1) * percent // 100]


def people(house, count):
    names = [f"person{number}@acme.example" for number in range(count)]
    for name in names:
        house.operate("POST", f"/v1/invitations?tenant={TENANT}", {"email": name, "roles": ["user"]})
    for name in names:
        house.nobody("/v1/invitations/accept", {"token": mailed(house, name), "full_name": "Some Body", "password": PASSWORD})
    return names


def told_by_time(house, names, source, rounds):
    """Pairs of one who exists and one who does not, in an order that is drawn; then the same of those who are locked."""
    port, figures = house.ports["control"], {}
    nobody = iter(f"nobody{number}@acme.example" for number in range(1_000_000))

    def pairs(existing, ask):
        found = {True: [], False: []}
        for name in existing:
            for real in random.sample([True, False], 2):
                line = source.line(port)
                line.connect()
                found[real].append(ask(line, name if real else next(nobody)))
                line.close()
        return found

    def signing_in(line, name):
        begin, took, status, answer = tries(line, name, WRONG)
        if status != 401 or answer["code"] != "identity.credentials_wrong":
            raise SystemExit(f"{status} {answer}")
        return begin, took

    pairs(names[:20], signing_in)  # what is warm is measured
    for what, each in [("wrong", rounds), ("locked", rounds)]:
        found = {True: [], False: []}
        for _ in range(each):
            for real, times in pairs(names, signing_in).items():
                found[real] += times
        for index, name in enumerate([f"auc_{what}_begin", f"auc_{what}"]):
            ours, others = ([one[index] for one in found[real]] for real in (True, False))
            figures[name] = round(auc(ours, others), 3)
        figures[f"{what}_unknown_p50_ms"] = round(1e3 * at([one[1] for one in found[False]], 50), 2)
        if what == "wrong":
            pairs(names * (10 - rounds), signing_in)  # until all are locked
    reset = pairs(names, lambda line, name: post(line, "/v1/sign_in/reset", {"email": name})[1])
    figures["auc_reset"] = round(auc(reset[True], reset[False]), 3)
    return figures


def right_passwords(house, names, source, hash_ms):
    took = []
    for name in names:
        line = source.line(house.ports["control"])
        line.connect()
        _, seconds, status, answer = tries(line, name, PASSWORD)
        line.close()
        if status != 200:
            raise SystemExit(f"{status} {answer}")
        took.append(1e3 * seconds)
    return {"sign_in_p50_ms": round(at(took, 50), 2), "sign_in_p95_ms": round(at(took, 95), 2),
            "sign_in_beside_hash_p95_ms": round(at(took, 95) - hash_ms, 2)}


def probe(port, key, seconds, out):
    """Asks the gateway a hundred times a second."""
    line, took, until = http.client.HTTPConnection("127.0.0.1", port, timeout=60), [], time.monotonic() + seconds
    due = time.monotonic()
    while due < until:
        time.sleep(max(0.0, due - time.monotonic()))
        begun = time.perf_counter()
        line.request("GET", "/v1/notes/7", headers={"host": f"{TENANT}.localhost", "authorization": f"Bearer {key}"})
        answer = line.getresponse()
        answer.read()
        took.append((answer.status, 1e6 * (time.perf_counter() - begun)))
        due += 0.01
    out.put(took)


def probed(house, key, seconds, meanwhile):
    out = multiprocessing.Queue()
    asking = multiprocessing.Process(target=probe, args=(house.ports["gateway"], key, seconds, out))
    asking.start()
    meanwhile()
    took = out.get()
    asking.join()
    if any(status != 200 for status, _ in took):
        raise SystemExit(f"the gateway answered {[status for status, _ in took if status != 200][:5]}")
    return at([one for _, one in took], 99)


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def crowd(house, source, key):
    """Three hundred at once."""
    pid, seen = house.processes[0].pid, []
    quiet = probed(house, key, 5, lambda: None)
    before, statuses, over = resident_mib(pid), [], threading.Event()

    def watch():
        while not over.wait(0.01):
            seen.append(resident_mib(pid))

    def one(number):
        line = source.line(house.ports["control"])
        begin = post(line, "/v1/sign_in", {"identifier": f"crowd{number}@acme.example"})
        if begin[0] == 200:
            begin = post(line, f"/v1/sign_in/{begin[2]['flow']}/password", {"password": WRONG})
        statuses.append(begin[0])
        line.close()

    def come():
        time.sleep(1)
        all_of_them = [threading.Thread(target=one, args=(number,)) for number in range(300)]
        for thread in all_of_them:
            thread.start()
        for thread in all_of_them:
            thread.join()

    watching = threading.Thread(target=watch)
    watching.start()
    busy = probed(house, key, 5, come)
    over.set()
    watching.join()
    figures = {f"crowd_{status}": statuses.count(status) for status in sorted(set(statuses))}
    return figures | {"crowd_grows_mib": round(max(seen) - before, 1), "crowd_gateway_p99_us": round(busy),
                      "quiet_gateway_p99_us": round(quiet), "crowd_vs_quiet_p99": round(busy / quiet, 2)}


def family_cpu(pid):
    """Seconds of processor time of a process and all below it."""
    parents, times, tick = {}, {}, os.sysconf("SC_CLK_TCK")
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf8", errors="replace") as file:
                words = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(name)], times[int(name)] = int(words[1]), (int(words[11]) + int(words[12])) / tick

    def below(child):
        while child in parents:
            if child == pid:
                return True
            child = parents[child]
        return False
    return sum(seconds for child, seconds in times.items() if below(child))


def machines(house, port, basic, pid, seconds, path):
    script = house.path(f"wrk-{port}.lua")
    with open(script, "w", encoding="ascii") as file:
        file.write(WRK.format(basic=basic))
    before = family_cpu(pid)
    out = subprocess.run(["wrk", "-t1", "-c8", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}{path}"],
                         check=True, stdout=subprocess.PIPE, text=True).stdout.strip().splitlines()[-1]
    requests, micros, errors = map(int, out.split())
    if errors or not requests:
        raise SystemExit(f"{errors} of {requests} tokens were refused")
    return requests * 1e6 / micros, 1e6 * (family_cpu(pid) - before) / requests


def tokens_for_machines(house, machine, rounds):
    """Rounds of a second, with a rest: one credential may call 5,000 times at once, and 1,000 times a second from then on."""
    made = house.operate("POST", f"/v1/service_accounts/{machine}/secrets?tenant={TENANT}", {})
    own = base64.b64encode(f"{machine}:{made['client_secret']}".encode()).decode()
    theirs = base64.b64encode(f"machine:{SECRET}".encode()).decode()
    port = free_ports()["echo"]
    folder = os.path.abspath("target/provider")
    # Node.js looks for the library beside the program.
    program = os.path.join(folder, "bench.mjs")
    with open("bench/lib/identity_provider.mjs", encoding="utf8") as source, open(program, "w", encoding="utf8") as file:
        file.write(source.read())
    node = os.path.abspath("target/venv/bin/node")
    peer = subprocess.Popen([node, program, json.dumps({"port": port, "secret": SECRET})], cwd=folder,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if peer.stdout.readline().strip() != "ready":
        raise SystemExit("the provider did not start")
    found = {"ours": [], "theirs": []}
    for _ in range(rounds):
        found["ours"].append(machines(house, house.ports["control"], own, house.processes[0].pid, 1, "/oauth2/token"))
        found["theirs"].append(machines(house, port, theirs, peer.pid, 1, "/token"))
        time.sleep(5)
    peer.stdin.close()
    peer.wait(60)
    os.remove(program)
    middle = {name: [at([one[index] for one in all_of_it], 50) for index in (0, 1)] for name, all_of_it in found.items()}
    return {"machine_tokens_per_s": round(middle["ours"][0]), "machine_tokens_per_s_provider": round(middle["theirs"][0]),
            "machine_token_cpu_us": round(middle["ours"][1]), "machine_token_cpu_us_provider": round(middle["theirs"][1]),
            "machine_token_vs_provider": round(middle["theirs"][1] / middle["ours"][1], 2)}


def main():
    program, hash_ms, quick = os.path.abspath(sys.argv[1]), float(sys.argv[2]), "--quick" in sys.argv
    random.seed(7)
    house, source = House(program), Source()
    try:
        machine, _ = prepare(house)
        body = {"name": "bench", "owner": {"kind": "service_account", "id": machine}, "roles": ["developer"]}
        key = house.operate("POST", f"/v1/keys?tenant={TENANT}", body)["key"]
        time.sleep(1)
        names = people(house, 40 if quick else 100)
        figures = right_passwords(house, names, source, hash_ms)
        figures |= told_by_time(house, names, source, 3 if quick else 5)
        figures |= crowd(house, source, key)
        figures |= tokens_for_machines(house, machine, 3 if quick else 7)
    finally:
        house.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
