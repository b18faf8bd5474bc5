"""The contestants of bench/gateway: how each is configured and started.

Plain ones only forward. Those with a policy look up the request's API key among 10,000, limit each key to 200
requests per second (429), tell the upstream whose request it is in three headers, and write one JSON line (ours: one
journal record) per request. All use two threads, keep connections to the same upstream open, and listen on
loopback.
"""

import base64
import hashlib
import json
import os
import socket
import subprocess
from dataclasses import dataclass, field

LIMIT_PER_KEY = 200
BODY = json.dumps({"id": "42", "state": "issued", "note": ""})
BODY = json.dumps({"id": "42", "state": "issued", "note": "x" * (514 - len(BODY))})


@dataclass
class Contestant:
    name: str
    policy: bool
    command: list
    port: int
    environment: dict = field(default_factory=dict)
    # How it is given a key: the header's name and a template of its value.
    header: tuple = ("X-API-Key", "{key}")
    limits: bool = True
    ours: bool = False
    keys: str = ""
    tls: bool = False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Peers:
    """Writes the configurations into `home`. `tenants` maps keys to tenants."""

    def __init__(self, home, tools, gateway, tenants):
        self.home, self.tools, self.gateway, self.tenants = home, tools, gateway, tenants
        self.upstream_port = free_port()

    def write(self, name, text):
        path = os.path.join(self.home, name)
        with open(path, "w", encoding="ascii") as out:
            out.write(text)
        return path

    # The upstream, and nginx as a proxy.

    def nginx(self, name, workers, http, policy=False, port=None):
        port = port or free_port()
        path = self.write(f"{name}.conf", f"""
user root; worker_processes {workers}; daemon off; pid {self.home}/{name}.pid; error_log stderr crit;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; server_tokens off;
  client_body_temp_path {self.home}/{name}-body; proxy_temp_path {self.home}/{name}-proxy;
  fastcgi_temp_path {self.home}/{name}-f; uwsgi_temp_path {self.home}/{name}-u; scgi_temp_path {self.home}/{name}-s;
{http.replace("@PORT@", str(port))}
}}
""")
        return Contestant(name, policy, ["nginx", "-c", path, "-e", "stderr"], port)

    def upstream(self):
        http = f"""  server {{ listen 127.0.0.1:@PORT@ reuseport;
    location / {{ default_type application/json; return 200 '{BODY}'; }} }}"""
        return self.nginx("upstream", 1, http, port=self.upstream_port)

    def direct(self):
        return Contestant("direct", False, [], self.upstream_port)

    def nginx_plain(self):
        return self.nginx("nginx", 2, self.nginx_server(""))

    def nginx_server(self, policy, before=""):
        return f"""{before}
  upstream service {{ server 127.0.0.1:{self.upstream_port}; keepalive 256; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:@PORT@ reuseport;
    location / {{ {policy} proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; }} }}"""

    def nginx_policy(self):
        lines = "\n".join(f'"{key}" {tenant};' for key, tenant in self.tenants.items())
        table = self.write("nginx-keys.map", lines)
        before = f"""
  map_hash_max_size 65536; map_hash_bucket_size 128;
  map $http_x_api_key $tenant {{ default ""; include {table}; }}
  limit_req_zone $http_x_api_key zone=keys:32m rate={LIMIT_PER_KEY}r/s;
  log_format line escape=json '{{"at":"$msec","id":"$request_id","tenant":"$tenant","method":"$request_method",'
    '"path":"$uri","status":$status,"bytes":$body_bytes_sent,"ip":"$remote_addr","time":$request_time}}';
  access_log {self.home}/nginx-access.json line buffer=64k flush=1s;"""
        policy = f"""if ($tenant = "") {{ return 401; }}
      limit_req zone=keys burst={LIMIT_PER_KEY} nodelay; limit_req_status 429; limit_req_log_level info;
      proxy_set_header X-Tenant $tenant; proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-API-Key "";"""
        return self.nginx("nginx-policy", 2, self.nginx_server(policy, before), policy=True)

    # HAProxy.

    def haproxy(self, name, rules, policy=False, tls=""):
        port = free_port()
        path = self.write(f"{name}.cfg", f"""
global
  nbthread 2
  maxconn 4096
  log stdout format raw local0
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 30s
  timeout http-request 60s
frontend in
  bind 127.0.0.1:{port}{tls}
{rules}
  default_backend service
backend service
  http-reuse always
  server one 127.0.0.1:{self.upstream_port} pool-max-conn 256
backend rates
  stick-table type string len 64 size 64k expire 10s store http_req_rate(1s)
""")
        return Contestant(name, policy, ["haproxy", "-db", "-f", path], port, tls=bool(tls))

    def haproxy_plain(self):
        return self.haproxy("haproxy", "")

    def haproxy_policy_tls(self):
        certificate = os.path.join(self.certificates(), "default.pem")
        return self.haproxy_policy("haproxy-policy-tls", f" ssl crt {certificate} alpn http/1.1 ssl-min-ver TLSv1.3")

    def haproxy_policy(self, name="haproxy-policy", tls=""):
        lines = "".join(f"{key} {tenant}\n" for key, tenant in self.tenants.items())
        table = self.write("haproxy-keys.map", lines)
        rules = f"""
  log global
  log-format '{{"at":"%Ts.%ms","id":"%[var(txn.id)]","tenant":"%[var(txn.tenant)]","method":"%HM","path":"%HPO","status":%ST,"bytes":%B,"ip":"%ci","time":%Ta}}'
  http-request set-var(txn.id) uuid()
  http-request set-var(txn.tenant) req.hdr(x-api-key),map_str({table})
  http-request deny deny_status 401 unless {{ var(txn.tenant) -m found }}
  http-request track-sc0 req.hdr(x-api-key) table rates
  http-request deny deny_status 429 if {{ sc_http_req_rate(0,rates) gt {LIMIT_PER_KEY} }}
  http-request set-header X-Tenant %[var(txn.tenant)]
  http-request set-header X-Request-Id %[var(txn.id)]
  http-request set-header X-Forwarded-For %[src]
  http-request del-header X-API-Key"""
        return self.haproxy(name, rules, policy=True, tls=tls)

    # Envoy. JSON is YAML.

    def envoy(self, name, filters, policy=False, log=None):
        port = free_port()
        typed = "type.googleapis.com/envoy.extensions."
        router = {"name": "router", "typed_config": {"@type": typed + "filters.http.router.v3.Router"}}
        manager = {
            "@type": typed + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in",
            "route_config": {"virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service"}}]}]},
            "http_filters": [*filters, router],
        }
        if log:
            manager["access_log"] = [{"name": "file", "typed_config": {
                "@type": typed + "access_loggers.file.v3.FileAccessLog", "path": log,
                "log_format": {"json_format": {
                    "at": "%START_TIME%", "id": "%REQ(X-REQUEST-ID)%", "tenant": "%REQ(X-TENANT)%",
                    "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%", "status": "%RESPONSE_CODE%",
                    "bytes": "%BYTES_SENT%", "time": "%DURATION%"}}}}]

        def address(number):
            return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

        config = {"static_resources": {
            "listeners": [{"name": "in", "address": address(port), "enable_reuse_port": True, "filter_chains": [
                {"filters": [{"name": "http", "typed_config": manager}]}]}],
            "clusters": [{"name": "service", "type": "STATIC", "connect_timeout": "1s",
                          "load_assignment": {"cluster_name": "service", "endpoints": [
                              {"lb_endpoints": [{"endpoint": {"address": address(self.upstream_port)}}]}]}}]}}
        path = self.write(f"{name}.json", json.dumps(config))
        command = [f"{self.tools}/envoy", "-c", path, "--concurrency", "2", "-l", "critical",
                   "--use-dynamic-base-id"]
        return Contestant(name, policy, command, port)

    def envoy_plain(self):
        return self.envoy("envoy", [])

    def envoy_policy(self):
        typed = "type.googleapis.com/envoy.extensions.filters.http."
        keys = {
            "name": "keys",
            "typed_config": {
                "@type": typed + "api_key_auth.v3.ApiKeyAuth",
                "credentials": [{"key": key, "client": f"{tenant}.{number}"}
                                for number, (key, tenant) in enumerate(self.tenants.items())],
                "key_sources": [{"header": "x-api-key"}],
                "forwarding": {"header": "x-tenant", "hide_credentials": True},
            },
        }
        bucket = {"max_tokens": LIMIT_PER_KEY, "tokens_per_fill": LIMIT_PER_KEY, "fill_interval": "1s"}
        everything = {"numerator": 100}
        limit = {
            "name": "limit",
            "typed_config": {
                "@type": typed + "local_ratelimit.v3.LocalRateLimit",
                "stat_prefix": "limit",
                "token_bucket": {"max_tokens": 10_000_000, "tokens_per_fill": 10_000_000, "fill_interval": "1s"},
                "filter_enabled": {"default_value": everything},
                "filter_enforced": {"default_value": everything},
                "max_dynamic_descriptors": 20_000,
                "rate_limits": [{"actions": [
                    {"request_headers": {"header_name": "x-tenant", "descriptor_key": "client"}}]}],
                "descriptors": [{"entries": [{"key": "client"}], "token_bucket": bucket}],
            },
        }
        return self.envoy("envoy-policy", [keys, limit], policy=True, log=f"{self.home}/envoy-access.json")

    # Traefik has no API keys: basic authentication stands in, with the cheapest hash that it takes.

    def traefik(self, name, middlewares, policy=False):
        port = free_port()
        service = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{self.upstream_port}"}]}}
        router = {"rule": "PathPrefix(`/`)", "service": "service", "entryPoints": ["in"]}
        http = {"routers": {"all": router}, "services": {"service": service}}
        if middlewares:
            http["middlewares"] = middlewares
            router["middlewares"] = list(middlewares)
        dynamic = self.write(f"{name}-dynamic.json", json.dumps({"http": http}))
        static = {
            "entryPoints": {"in": {"address": f"127.0.0.1:{port}"}},
            "providers": {"file": {"filename": dynamic, "watch": False}},
            "log": {"level": "ERROR"},
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        }
        if policy:
            static["accessLog"] = {"filePath": f"{self.home}/traefik-access.json", "format": "json", "bufferingSize": 100}
        path = self.write(f"{name}.json", json.dumps(static))
        command = [f"{self.tools}/traefik", f"--configFile={path}"]
        return Contestant(name, policy, command, port, environment={"GOMAXPROCS": "2"})

    def traefik_plain(self):
        return self.traefik("traefik", {})

    def traefik_policy(self):
        digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
        users = "".join(f"{key}:{{SHA}}{digest}\n" for key in self.tenants)
        table = self.write("traefik-users", users)
        middlewares = {
            "who": {"basicAuth": {"usersFile": table, "headerField": "X-Tenant", "removeHeader": True}},
            "often": {"rateLimit": {"average": LIMIT_PER_KEY, "burst": LIMIT_PER_KEY,
                                    "sourceCriterion": {"requestHeaderName": "X-Tenant"}}},
        }
        contestant = self.traefik("traefik-policy", middlewares, policy=True)
        contestant.header = ("Authorization", "Basic {basic}")
        return contestant

    # Caddy forwards only: as shipped it has neither a table of keys nor a limiter.

    def caddy_plain(self):
        port = free_port()
        route = {"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": f"127.0.0.1:{self.upstream_port}"}]}]}
        config = {"admin": {"disabled": True}, "apps": {"http": {"servers": {"in": {
            "listen": [f"127.0.0.1:{port}"], "protocols": ["h1"], "automatic_https": {"disable": True},
            "routes": [route]}}}}}
        path = self.write("caddy.json", json.dumps(config))
        environment = {"GOMAXPROCS": "2", "XDG_DATA_HOME": self.home, "XDG_CONFIG_HOME": self.home}
        return Contestant("caddy", False, [f"{self.tools}/caddy", "run", "--config", path], port, environment)

    # Ours.

    def certificates(self):
        """A folder with one certificate for everything, as both take it."""
        folder = os.path.join(self.home, "certificates")
        if not os.path.isdir(folder):
            os.mkdir(folder)
            one = os.path.join(folder, "default")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                            "-days", "30", "-subj", "/CN=example.test", "-addext", "subjectAltName=DNS:*.example.test",
                            "-keyout", f"{one}.key", "-out", f"{one}.crt"], check=True, capture_output=True)
            with open(f"{one}.pem", "w", encoding="ascii") as both:
                for part in ("crt", "key"):
                    with open(f"{one}.{part}", encoding="ascii") as source:
                        both.write(source.read())
        return folder

    def rowhouse_tls(self):
        own = self.rowhouse("whole-tls", "whole")
        own.port, own.tls = free_port(), True
        own.command += ["--tls", f"127.0.0.1:{own.port}", "--certificates", self.certificates()]
        return own

    def rowhouse_token(self):
        own = self.rowhouse("token", "token")
        own.header = ("Authorization", "Bearer {key}")
        return own

    def rowhouse(self, name, mode):
        port = free_port()
        keys = os.path.join(self.home, f"{name}-keys")
        command = [self.gateway, "--mode", mode, "--listen", f"127.0.0.1:{port}", "--keys", keys, "--cores", "2",
                   "--upstream", f"127.0.0.1:{self.upstream_port}", "--journal", f"{self.home}/{name}-journal"]
        return Contestant(name, mode != "forward", command, port, ours=True, keys=keys)
