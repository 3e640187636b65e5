"""A peer of the bus that has nothing but Python's standard library.

It asks for one kernel, waits for the answer, checks its signature, reads the
kernel file and prints what it got as JSON.

usage: peer.py HOST PORT SECRET REQUEST_ID BLUEPRINT_ID
"""

import base64
import hashlib
import hmac
import json
import socket
import struct
import sys
import time

REQUESTS, READY, ERRORS = "oona.kernels.requests", "oona.kernels.ready", "oona.kernels.errors"
TYPE_REQUEST, TYPE_READY, TYPE_ERROR = 6, 7, 8


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(tag, value):
    return varint(tag << 3) + varint(value)


def chunk(tag, value):
    return varint(tag << 3 | 2) + varint(len(value)) + value


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """The last value of each field of a message."""
    at, found = 0, {}
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == 0:
            found[key >> 3], at = read_varint(data, at)
        elif kind == 2:
            size, at = read_varint(data, at)
            found[key >> 3], at = data[at : at + size], at + size
        elif kind == 5:
            found[key >> 3], at = struct.unpack("<f", data[at : at + 4])[0], at + 4
        else:
            found[key >> 3], at = struct.unpack("<d", data[at : at + 8])[0], at + 8
    return found


class Redis:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=30)
        self.stream = self.socket.makefile("rb")

    def do(self, *args):
        parts = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self.read()

    def read(self):
        line = self.stream.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"+":
            return rest
        size = int(rest)
        if kind == b":":
            return size
        if size < 0:
            return None
        if kind == b"$":
            return self.stream.read(size + 2)[:-2]
        return [self.read() for _ in range(size)]


def sign(secret, payload):
    return base64.b64encode(hmac.new(secret.encode(), payload, hashlib.sha256).digest())


def request(request_id, blueprint_id):
    now = time.time_ns()
    issued = number(1, now // 10**9) + number(2, now % 10**9)
    body = chunk(1, request_id.encode()) + chunk(2, blueprint_id.encode()) + chunk(3, b"python") + chunk(4, issued)
    return number(1, TYPE_REQUEST) + chunk(2, body)


def answer(redis, secret, request_id):
    seen = {READY: "0", ERRORS: "0"}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        batches = redis.do("XREAD", "COUNT", 100, "BLOCK", 1000, "STREAMS", *seen, *seen.values())
        for stream, entries in batches or []:
            for entry_id, flat in entries:
                seen[stream.decode()] = entry_id.decode()
                entry = dict(zip(flat[::2], flat[1::2]))
                if not hmac.compare_digest(entry[b"signature"], sign(secret, entry[b"payload"])):
                    raise RuntimeError("forged entry " + entry_id.decode())
                envelope = fields(entry[b"payload"])
                body = fields(envelope[2])
                if envelope[1] in (TYPE_READY, TYPE_ERROR) and body.get(1) == request_id.encode():
                    return envelope[1], body
    raise RuntimeError("no answer")


def main():
    host, port, secret, request_id, blueprint_id = sys.argv[1:]
    redis = Redis(host, int(port))
    payload = request(request_id, blueprint_id)
    redis.do("XADD", REQUESTS, "*", "payload", payload, "signature", sign(secret, payload))
    kind, body = answer(redis, secret, request_id)
    result = {"request_id": body[1].decode(), "blueprint_id": body[2].decode()}
    if kind == TYPE_ERROR:
        result.update(kind="error", reason=body[3].decode())
    else:
        with open(body[3].decode(), "rb") as kernel:
            file_checksum = hashlib.sha256(kernel.read()).hexdigest()
        result.update(kind="ready", checksum=body[4].decode(), file_checksum=file_checksum)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
