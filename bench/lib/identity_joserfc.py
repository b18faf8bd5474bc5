"""Microseconds that PyPI's joserfc takes to verify each token of a file, with its claims; the median of three rounds.

Usage: identity_joserfc.py FILE
"""

import json
import sys
import time

from joserfc import jwt
from joserfc.jwk import OKPKey

with open(sys.argv[1], encoding="ascii") as file:
    given = json.load(file)
key = OKPKey.import_key(given["jwk"])
rules = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": given["issuer"]}, aud={"essential": True, "value": given["audience"]},
    exp={"essential": True}, nbf={"essential": True})


def one_round():
    begun = time.perf_counter()
    for token in given["tokens"]:
        rules.validate(jwt.decode(token, key, algorithms=["EdDSA"]).claims)
    return 1e6 * (time.perf_counter() - begun) / len(given["tokens"])


print(sorted(one_round() for _ in range(3))[1])
