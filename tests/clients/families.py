"""boto3 reads what a successor answers in the shape of the model that was asked for: the whole
answer and the streamed one have the same text, and state the same counts.

Usage: families.py GATEWAY_URL CASES, where CASES is JSON: [{"model", "body", "text", "piece"}], with
JSON pointers to the text of an answer and of a chunk; an empty `piece` says that there are no streams.
"""

import json
import sys

import boto3
import botocore.config

GATEWAY, CASES = sys.argv[1:]

BEDROCK = boto3.client(
    "bedrock-runtime",
    region_name="us-east-1",
    endpoint_url=GATEWAY,
    aws_access_key_id="anything",
    aws_secret_access_key="anything",
    config=botocore.config.Config(retries={"total_max_attempts": 1}),
)


def at(value, pointer):
    """What a JSON pointer leads to, or None."""
    for part in pointer.split("/")[1:]:
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        elif isinstance(value, dict):
            value = value.get(part)
        else:
            return None
    return value


def counts(headers):
    return tuple(int(headers[f"x-amzn-bedrock-{kind}-token-count"]) for kind in ("input", "output"))


for case in json.loads(CASES):
    model, body = case["model"], json.dumps(case["body"])
    answer = BEDROCK.invoke_model(modelId=model, body=body)
    assert answer["contentType"] == "application/json", answer
    text = at(json.loads(answer["body"].read()), case["text"])
    assert text, (model, answer)
    if not case["piece"]:
        continue
    whole = counts(answer["ResponseMetadata"]["HTTPHeaders"])
    stream = BEDROCK.invoke_model_with_response_stream(modelId=model, body=body)
    assert stream["contentType"] == "application/json", stream
    chunks = [json.loads(event["chunk"]["bytes"]) for event in stream["body"]]
    assert "".join(at(chunk, case["piece"]) or "" for chunk in chunks) == text, (model, text, chunks)
    metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
    assert (metrics["inputTokenCount"], metrics["outputTokenCount"]) == whole, (model, metrics, whole)
