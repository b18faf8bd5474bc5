"""Signs tokens as another company's sign-in would, with PyJWT: prints a key set and, for each of the wanted tokens, its text.

Standard input: {"prefix": names of keys begin so, "tokens": {name: {"alg", "claims", "headers"?, "kid"?}}}.
Keys are new each time.
"""

import base64
import json
import sys

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

wanted = json.load(sys.stdin)
keys = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "PS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
set_ = []
for name, key in keys.items():
    public = json.loads(jwt.get_algorithm_by_name(name).to_jwk(key.public_key()))
    public.pop("key_ops", None)
    set_.append(public | {"kid": wanted["prefix"] + name, "alg": name, "use": "sig"})


def text(part):
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


tokens = {}
for name, token in wanted["tokens"].items():
    headers = {"kid": wanted["prefix"] + token.get("kid", token["alg"])} | token.get("headers", {})
    if token["alg"] == "none":
        tokens[name] = text({"alg": "none"} | headers) + "." + text(token["claims"]) + "."
    elif token["alg"] == "HS256":
        # The classic: the public key as the secret of a MAC. PyJWT itself refuses to, so by hand.
        import hashlib
        import hmac

        pem = keys["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signed = text({"alg": "HS256"} | headers) + "." + text(token["claims"])
        tokens[name] = signed + "." + text(hmac.new(pem, signed.encode(), hashlib.sha256).digest())
    else:
        tokens[name] = jwt.encode(token["claims"], keys[token["alg"]], algorithm=token["alg"], headers=headers)

json.dump({"jwks": {"keys": set_}, "tokens": tokens}, sys.stdout)
