"""boto3 asks models that are no chats, through the gateway, and reads what they answer.

Usage: pieces.py GATEWAY_URL
"""

import json
import sys

import boto3
import botocore.config
import botocore.exceptions

BEDROCK = boto3.client(
    "bedrock-runtime",
    region_name="us-east-1",
    endpoint_url=sys.argv[1],
    aws_access_key_id="anything",
    aws_secret_access_key="anything",
    config=botocore.config.Config(retries={"total_max_attempts": 1}),
)


def invoke(model, **body):
    answer = BEDROCK.invoke_model(modelId=model, body=json.dumps(body))
    return json.loads(answer["body"].read()), answer["ResponseMetadata"]["HTTPHeaders"]


titan, headers = invoke("amazon.titan-embed-text-v2:0", inputText="How much is the fish?", dimensions=256, normalize=True)
assert len(titan["embedding"]) == 256, titan
assert int(headers["x-amzn-bedrock-input-token-count"]) == titan["inputTextTokenCount"] > 0, headers
assert float(headers["x-kairos-cost-usd"]) > 0, headers

cohere, headers = invoke("global.cohere.embed-v4:0", texts=["a", "b"], input_type="search_document", embedding_types=["float"])
assert len(cohere["embeddings"]["float"]) == 2, cohere
assert int(headers["x-amzn-bedrock-input-token-count"]) > 0, headers

ranked, headers = invoke("amazon.rerank-v1:0", query="fish", documents=["a", "b", "c"], top_n=2)
assert [result["index"] for result in ranked["results"]] == [0, 1], ranked
assert headers["x-kairos-cost-usd"] == "0.001", headers

image, headers = invoke("stability.sd3-5-large-v1:0", prompt="a fish", mode="text-to-image")
assert image["finish_reasons"] == [None] and image["images"][0], image
assert headers["x-kairos-cost-usd"] == "0.08", headers

try:
    BEDROCK.converse(modelId="amazon.rerank-v1:0", messages=[{"role": "user", "content": [{"text": "hello"}]}])
    sys.exit("a rerank model took a conversation")
except botocore.exceptions.ClientError as error:
    assert error.response["Error"]["Code"] == "ValidationException", error
