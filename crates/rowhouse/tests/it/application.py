"""A program that people sign in to, with a library that nobody here wrote (Authlib, joserfc). It speaks in lines of JSON.

First argument: {"issuer", "client_id", "client_secret"?, "redirect_uri"}. It prints {"url"} for the browser, reads {"callback"}, the address
that the browser was sent back to, and prints what it got: the verified claims of the ID token, userinfo, the tokens after a refresh.
"""

import json
import secrets
import sys

import requests
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

settings = json.loads(sys.argv[1])
known = requests.get(settings["issuer"] + "/.well-known/openid-configuration", timeout=60).json()
assert known["issuer"] == settings["issuer"], known
assert requests.get(settings["issuer"] + "/.well-known/oauth-authorization-server", timeout=60).json() == known

secret = settings.get("client_secret")
session = OAuth2Session(
    settings["client_id"],
    secret,
    scope="openid email profile",
    redirect_uri=settings["redirect_uri"],
    token_endpoint_auth_method="client_secret_basic" if secret else "none",
    code_challenge_method="S256",
    default_timeout=60,
)
verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
url, state = session.create_authorization_url(known["authorization_endpoint"], code_verifier=verifier, nonce=nonce)
print(json.dumps({"url": url}), flush=True)

callback = json.loads(sys.stdin.readline())["callback"]
token = session.fetch_token(
    known["token_endpoint"], authorization_response=callback, state=state, code_verifier=verifier,
)
keys = KeySet.import_key_set(requests.get(known["jwks_uri"], timeout=60).json())
read = jwt.decode(token["id_token"], keys, algorithms=known["id_token_signing_alg_values_supported"])
rules = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": settings["issuer"]},
    aud={"essential": True, "value": settings["client_id"]},
    nonce={"essential": True, "value": nonce},
    sub={"essential": True},
    exp={"essential": True},
    iat={"essential": True},
)
rules.validate(read.claims)
userinfo = session.get(known["userinfo_endpoint"], timeout=60).json()
before = token["refresh_token"]
refreshed = session.refresh_token(known["token_endpoint"], refresh_token=before)
after = session.get(known["userinfo_endpoint"], timeout=60).json()
revoked = session.revoke_token(known["revocation_endpoint"], token=refreshed["refresh_token"], token_type_hint="refresh_token")
print(
    json.dumps({
        "header": read.header,
        "claims": read.claims,
        "userinfo": userinfo,
        "is_rotated": refreshed["refresh_token"] != before,
        "after": after,
        "revoked": revoked.status_code,
        "access_token": refreshed["access_token"],
    }),
    flush=True,
)
