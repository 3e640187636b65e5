"""A Python peer of the bus: Debian's redis and protobuf modules, and bindings
that protoc made from leyline.proto. It shares no code with the Go side.

usage: peer.py FOLDER_OF_BINDINGS SECRET publish|consume|commands HOST PORT

publish  reads lines of {"stream", "type", "message"} and publishes each
consume  reads lines of {"stream", "count"}, consumes so many entries of each
         stream through a group and prints {"stream", "type", "message", "attributes"}
commands reads commands in hex and prints {"signed", "signature", "valid", "wire"}:
         the bytes a signature covers, the signature, whether the one it came
         with is right, and the command signed by Python
"""

import base64
import hashlib
import hmac
import json
import sys

import redis
from google.protobuf import json_format

PAYLOADS = {
    "BUS_MESSAGE_TYPE_SYSTEM_STATE": "SystemStatePacket",
    "BUS_MESSAGE_TYPE_ADAPTATION_COMMAND": "AdaptationCommand",
    "BUS_MESSAGE_TYPE_FIELD_REPORT": "FieldReport",
    "BUS_MESSAGE_TYPE_TELEMETRY": "TelemetryPacket",
    "BUS_MESSAGE_TYPE_POLICY_UPDATE": "PolicyUpdate",
    "BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST": "KernelPrefetchRequest",
    "BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY": "KernelArtifactReady",
    "BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR": "KernelArtifactError",
    "BUS_MESSAGE_TYPE_KERNEL_CATALOG_UPDATE": "KernelCatalogUpdate",
    "BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL": "EmergencySignal",
    "BUS_MESSAGE_TYPE_BSDS_ISSUED": "BSDSIssued",
    "BUS_MESSAGE_TYPE_BSDS_FAILED": "BSDSFailed",
    "BUS_MESSAGE_TYPE_BENCHMARK_REPORT": "BenchmarkReport",
}


class Peer:
    def __init__(self, bindings, secret, host, port):
        sys.path.insert(0, bindings)
        from esper.leyline.v1 import leyline_pb2

        self.leyline = leyline_pb2
        self.secret = secret.encode()
        self.redis = redis.Redis(host=host, port=int(port))

    def sign(self, data):
        return base64.b64encode(hmac.new(self.secret, data, hashlib.sha256).digest())

    def verify(self, data, signature):
        return hmac.compare_digest(self.sign(data), signature)

    def payload(self, kind):
        return getattr(self.leyline, PAYLOADS[kind])()

    def publish(self, line):
        message = json_format.ParseDict(line["message"], self.payload(line["type"]))
        envelope = self.leyline.BusEnvelope()
        envelope.message_type = self.leyline.BusMessageType.Value(line["type"])
        envelope.payload = message.SerializeToString()
        envelope.attributes["from"] = "python"
        data = envelope.SerializeToString()
        self.redis.xadd(line["stream"], {"payload": data, "signature": self.sign(data)})

    def consume(self, line):
        stream, left = line["stream"], line["count"]
        try:
            self.redis.xgroup_create(stream, "python", id="0", mkstream=True)
        except redis.ResponseError:
            pass  # the group exists
        while left > 0:
            batches = self.redis.xreadgroup("python", "peer", {stream: ">"}, count=left, block=20000)
            if not batches:
                raise SystemExit("nothing more on " + stream)
            for entry_id, fields in batches[0][1]:
                self.show(stream, fields)
                self.redis.xack(stream, "python", entry_id)
                left -= 1

    def show(self, stream, fields):
        data = fields[b"payload"]
        if not self.verify(data, fields[b"signature"]):
            raise SystemExit("forged entry on " + stream)
        envelope = self.leyline.BusEnvelope.FromString(data)
        kind = self.leyline.BusMessageType.Name(envelope.message_type)
        message = self.payload(kind)
        message.ParseFromString(envelope.payload)
        shown = json_format.MessageToDict(message)
        print(json.dumps({"stream": stream, "type": kind, "message": shown, "attributes": dict(envelope.attributes)}))

    def command(self, line):
        command = self.leyline.AdaptationCommand.FromString(bytes.fromhex(line))
        claimed = command.annotations.pop("signature", "").encode()
        signed = command.SerializeToString(deterministic=True)
        signature = self.sign(signed)
        command.annotations["signature"] = signature.decode()
        print(json.dumps({
            "signed": signed.hex(),
            "signature": signature.decode(),
            "valid": hmac.compare_digest(signature, claimed),
            "wire": command.SerializeToString().hex(),
        }))


def main():
    bindings, secret, what, host, port = sys.argv[1:]
    peer = Peer(bindings, secret, host, port)
    for line in sys.stdin:
        if what == "publish":
            peer.publish(json.loads(line))
        elif what == "consume":
            peer.consume(json.loads(line))
        else:
            peer.command(json.loads(line))


if __name__ == "__main__":
    main()
