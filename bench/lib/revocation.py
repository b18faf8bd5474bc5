"""Measures how long what was taken back is still let in: a key that is revoked, a grant that is taken back, a session that ends.

Starts Rowhouse on an empty directory, with a second gateway that is a process of its own (`serve --role gateway`), and one service that
answers whatever it is asked. In each round something that both gateways have just let in is taken back over the API, and both are asked
again and again until they refuse it. A time begins before the call that takes it back is sent, and ends with the first refusal's answer, so
that the call itself is within it. Prints one JSON object.

Usage: revocation.py PROGRAM ROUNDS
"""

import json
import os
import sys
import time

from house import PATIENCE_S, TENANT, House, prepare, sign_in


class Rounds(House):
    """With two gateways, which are asked until they refuse."""

    def __init__(self, program):
        super().__init__(program, with_node=True)

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
    house = Rounds(program)
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
