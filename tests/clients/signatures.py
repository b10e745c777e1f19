"""boto3 with the gateway's own key pair: accepted; with a wrong secret or id: refused, typed.

Usage: signatures.py GATEWAY_URL [ACCESS_KEY_ID SECRET_ACCESS_KEY]
"""

import sys

import boto3
import botocore.config
import botocore.exceptions

GATEWAY = sys.argv[1]
SAID = [{"role": "user", "content": [{"text": "hello"}]}]


def client(key_id, secret, **more):
    return boto3.client(
        "bedrock-runtime",
        region_name="eu-central-1",
        endpoint_url=GATEWAY,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
        **more,
    )


GOOD = tuple(sys.argv[2:4]) or ("AKIAKAIROSTEST", "a-secret-of-enough-characters")

for model in ("auto", "us.anthropic.claude-sonnet-4-6", "amazon.nova-lite-v1:0"):
    assert client(*GOOD).converse(modelId=model, messages=SAID)["stopReason"] == "end_turn"
    stream = client(*GOOD).converse_stream(modelId=model, messages=SAID)["stream"]
    assert any("metadata" in event for event in stream)
arn = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
assert client(*GOOD).converse(modelId=arn, messages=SAID)["stopReason"] == "end_turn"
assert client(*GOOD, aws_session_token="a token").converse(modelId="auto", messages=SAID)["stopReason"] == "end_turn"

for pair, code in (
    ((GOOD[0], "another-secret-of-enough-characters"), "InvalidSignatureException"),
    (("AKIASOMEBODYELSE", GOOD[1]), "UnrecognizedClientException"),
):
    try:
        client(*pair).converse(modelId="auto", messages=SAID)
        raise AssertionError(f"{pair} was accepted")
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403, error
print("ok")
