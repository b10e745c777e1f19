"""Kairos's own API from Python: data classes and the standard library, a key or AWS's signatures.

Usage: generate.py GATEWAY_URL SIMULATOR_URL
"""

import dataclasses
import json
import sys
import typing
import urllib.error
import urllib.request
import uuid
from datetime import datetime
from decimal import Decimal

import botocore.auth
import botocore.awsrequest
import botocore.credentials

GATEWAY, SIMULATOR = sys.argv[1:]
KEY = "a-key-of-enough-characters"
PAIR = ("AKIAKAIROSTEST", "a-secret-of-enough-characters")


@dataclasses.dataclass
class Request:
    prompt: str
    model_preference: typing.Optional[str] = None
    max_tokens: int = 4096
    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 250
    stop_sequences: typing.List[str] = dataclasses.field(default_factory=list)
    context: typing.Optional[dict] = None
    request_id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    timestamp: datetime = dataclasses.field(default_factory=datetime.now)


@dataclasses.dataclass
class Response:
    text: str
    model_used: str
    tokens_used: int
    response_time: float
    cost_estimate: Decimal
    request_id: str
    timestamp: datetime
    cached: bool = False
    metadata: typing.Optional[dict] = None

    def __post_init__(self):
        self.timestamp = datetime.fromisoformat(self.timestamp)


def body(requests):
    return json.dumps([dataclasses.asdict(one) for one in requests], default=lambda time: time.isoformat()).encode()


def send(path, data, headers):
    request = urllib.request.Request(GATEWAY + path, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer, parse_float=Decimal)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def by_key(path, data, key=KEY):
    return send(path, data, {"authorization": f"Bearer {key}"})


def by_x_api_key(path, data):
    return send(path, data, {"x-api-key": KEY})


def signed(path, data, secret=PAIR[1], sent=None):
    request = botocore.awsrequest.AWSRequest("POST", GATEWAY + path, data=data, headers={"host": GATEWAY.split("//")[1]})
    credentials = botocore.credentials.Credentials(PAIR[0], secret)
    botocore.auth.SigV4Auth(credentials, "bedrock", "us-east-1").add_auth(request)
    return send(path, data if sent is None else sent, dict(request.headers))


def exact(number):
    """The number's digits, however it was read."""
    return format(Decimal(number), "f")


for way in (by_key, by_x_api_key, signed):
    asked = Request("Write a Python function that adds two numbers", context={"task": "code", "source": "a server"})
    status, answer = way("/v1/generate", body([asked])[1:-1])
    assert status == 200, answer
    response = Response(**answer)
    assert response.text and response.metadata["client_request_id"] == asked.request_id
    with urllib.request.urlopen(f"{SIMULATOR}/sim/v1/bill/{response.request_id}-1") as billed:
        assert exact(response.cost_estimate) == exact(json.load(billed)["cost_usd"]), response
    assert abs((datetime.now().astimezone() - response.timestamp).total_seconds()) < 600

    many = [Request(f"Say {number}", model_preference=name) for number, name in enumerate(("nova-lite", "claude", "nope"))]
    status, answer = way("/v1/generate/batch", b'{"requests":' + body(many) + b"}")
    assert status == 200, answer
    first, second, third = answer["responses"]
    for asked, response in zip(many, (Response(**first), Response(**second))):
        assert response.metadata["client_request_id"] == asked.request_id
    assert third["error"]["type"] == "model_not_found", third

# A signature is over the whole body of a batch.
data = body([Request("hello")])
for answer in (signed("/v1/generate/batch", data, sent=data + b" "), signed("/v1/generate/batch", data, "another-secret-of-characters")):
    assert (answer[0], answer[1]["error"]["type"]) == (401, "invalid_signature"), answer
status, answer = by_key("/v1/generate/batch", data, "a-wrong-key-of-some-length")
assert (status, answer["error"]["type"], answer["error"]["retryable"]) == (401, "invalid_api_key", False), answer
print("ok")
