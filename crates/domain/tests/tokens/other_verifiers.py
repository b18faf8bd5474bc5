"""Two verifiers of JSON web tokens that others have written, PyJWT and joserfc, asked about one token a line.

Standard input: first {"now": seconds, "worlds": {name: {"issuer", "audiences", "keys": [JWK with kid and alg]}}}, then a line
{"world", "token"} for each token. Standard output: for each token a line of two words, `yes` or the class of what was against it.

Both are told what our own is told: for each key the one algorithm it is for, issuer, audiences, a leeway of 30 s, and what a token
must say. Both are left otherwise as they are.
"""

import json
import sys
import warnings
from datetime import datetime

import jwt
import jwt.api_jwt
from joserfc import jws as other_jws
from joserfc import jwt as other_jwt
from joserfc.jwk import import_key

REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
LEEWAY_S = 30

warnings.simplefilter("ignore")  # of the name EdDSA, which RFC 9864 would have more exact
settings = json.loads(sys.stdin.readline())


class Fixed(datetime):
    """The instant of the test."""

    @classmethod
    def now(cls, tz=None):
        return datetime.fromtimestamp(settings["now"], tz)


jwt.api_jwt.datetime = Fixed


class World:
    def __init__(self, known):
        self.issuer, self.audiences = known["issuer"], known["audiences"]
        self.algorithms = {key["kid"]: key["alg"] for key in known["keys"]}
        self.pyjwt = {key["kid"]: jwt.PyJWK.from_dict(key).key for key in known["keys"]}
        bare = ({name: part for name, part in key.items() if name not in ("use", "alg")} for key in known["keys"])
        self.joserfc = {key["kid"]: import_key(key) for key in bare}

    def by_pyjwt(self, token):
        name = jwt.get_unverified_header(token)["kid"]
        jwt.decode(
            token, self.pyjwt[name], algorithms=[self.algorithms[name]], audience=self.audiences,
            issuer=self.issuer, leeway=LEEWAY_S, options={"require": REQUIRED},
        )

    def by_joserfc(self, token):
        name = other_jws.extract_compact(token.encode()).headers()["kid"]
        registry = other_jws.JWSRegistry(algorithms=[self.algorithms[name]], strict_check_header=False)
        read = other_jwt.decode(token, self.joserfc[name], algorithms=[self.algorithms[name]], registry=registry)
        wanted = {name: {"essential": True} for name in REQUIRED}
        wanted["iss"]["value"] = self.issuer
        wanted["aud"]["values"] = self.audiences
        other_jwt.JWTClaimsRegistry(now=settings["now"], leeway=LEEWAY_S, **wanted).validate(read.claims)


worlds = {name: World(known) for name, known in settings["worlds"].items()}


def answer(ask, token):
    try:
        ask(token)
    except Exception as error:  # whatever is raised is a no
        return type(error).__name__
    return "yes"


for line in sys.stdin:
    asked = json.loads(line)
    world = worlds[asked["world"]]
    print(answer(world.by_pyjwt, asked["token"]), answer(world.by_joserfc, asked["token"]))
