"""A gRPC service, or a client that tries it through the gateway: `server`, or `client ADDRESS KEY KEY_WITHOUT_RIGHTS`.

Messages are bytes, so that nothing is generated. The client ends with 0 if everything was as expected.
"""

import sys
import time
from concurrent import futures

import grpc

NAME = "stamps.v1.Stamps"


def server():
    def unary(request, context):
        told = dict(context.invocation_metadata())
        context.set_trailing_metadata((("x-trailer", "seen"),))
        return request + b"|" + told.get("rowhouse-tenant", "nobody").encode()

    def server_stream(request, context):
        for number in range(int(request)):
            yield str(number).encode()

    def client_stream(requests, context):
        return str(sum(int(request) for request in requests)).encode()

    def both(requests, context):
        for request in requests:
            yield request.upper()

    def fails(request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not while it rains")

    def slow(request, context):
        time.sleep(5)
        return b"late"

    unary_unary = grpc.unary_unary_rpc_method_handler
    handlers = {
        "Unary": unary_unary(unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "Both": grpc.stream_stream_rpc_method_handler(both),
        "Fails": unary_unary(fails),
        "Slow": unary_unary(slow),
    }
    own = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    own.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    port = own.add_insecure_port("127.0.0.1:0")
    own.start()
    print(port, flush=True)
    sys.stdin.read()
    own.stop(None)


def refused(call, code):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, (error.code(), error.details())
        return error
    raise AssertionError(f"{code} was expected")


def client(address, key, weak):
    channel = grpc.insecure_channel(address, (("grpc.default_authority", "acme.example.test"),))
    known = (("authorization", f"Bearer {key}"),)

    def method(name, kind="unary_unary"):
        return getattr(channel, kind)(f"/{NAME}/{name}")

    answer, call = method("Unary").with_call(b"hello", metadata=known, timeout=20)
    tenant = answer.partition(b"|")[2]
    assert answer.startswith(b"hello|") and tenant not in (b"", b"nobody"), answer
    assert dict(call.trailing_metadata())["x-trailer"] == "seen", call.trailing_metadata()
    assert "x-request-id" in dict(call.initial_metadata())

    numbers = list(method("ServerStream", "unary_stream")(b"200", metadata=known, timeout=20))
    assert numbers == [str(number).encode() for number in range(200)], numbers
    requests = (str(number).encode() for number in range(200))
    assert method("ClientStream", "stream_unary")(requests, metadata=known, timeout=20) == b"19900"

    def in_turns():
        # Each request only after the answer to the one before: both directions are open at once.
        for word in (b"a", b"b", b"c"):
            asked.append(word)
            while len(answered) < len(asked) - 1:
                time.sleep(0.001)
            yield word

    asked, answered = [], []
    for word in method("Both", "stream_stream")(in_turns(), metadata=known, timeout=20):
        answered.append(word)
    assert answered == [b"A", b"B", b"C"], answered

    error = refused(lambda: method("Fails")(b"", metadata=known, timeout=20), grpc.StatusCode.FAILED_PRECONDITION)
    assert error.details() == "not while it rains"
    error = refused(lambda: method("Unary")(b"", timeout=20), grpc.StatusCode.UNAUTHENTICATED)
    assert error.details().startswith("identity."), error.details()
    may_not = (("authorization", f"Bearer {weak}"),)
    refused(lambda: method("Unary")(b"", metadata=may_not, timeout=20), grpc.StatusCode.PERMISSION_DENIED)
    refused(lambda: method("None")(b"", metadata=known, timeout=20), grpc.StatusCode.UNIMPLEMENTED)
    refused(lambda: method("Slow")(b"", metadata=known, timeout=0.3), grpc.StatusCode.DEADLINE_EXCEEDED)
    for _ in range(50):
        try:
            method("Unary")(b"again", metadata=known, timeout=20)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
            assert "retry-after" in dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
            return
    raise AssertionError("the limit was never met")


if sys.argv[1] == "server":
    server()
else:
    client(*sys.argv[2:])
