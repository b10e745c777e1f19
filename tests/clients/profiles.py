"""boto3 names application inference profiles by their ARN, in every operation: each is answered, and says what was
used. One that is not known is refused as Bedrock would.

Usage: profiles.py GATEWAY_URL ARN_OF_NOVA ARN_OF_CLAUDE UNKNOWN_ARN
Prints the token counts of each answer as JSON: [[ARN, input, output], ...]
"""

import json
import sys

import boto3
import botocore.config
import botocore.exceptions

GATEWAY, NOVA, CLAUDE, UNKNOWN = sys.argv[1:]
BEDROCK = boto3.client(
    "bedrock-runtime",
    region_name="us-east-1",
    endpoint_url=GATEWAY,
    aws_access_key_id="anything",
    aws_secret_access_key="anything",
    config=botocore.config.Config(retries={"total_max_attempts": 1}),
)
ASKED = {"messages": [{"role": "user", "content": [{"text": "How much is the fish?"}]}]}

found = []
for arn in (NOVA, CLAUDE):
    usage = BEDROCK.converse(modelId=arn, **ASKED)["usage"]
    found.append([arn, usage["inputTokens"], usage["outputTokens"]])
    events = BEDROCK.converse_stream(modelId=arn, **ASKED)["stream"]
    usage = next(event["metadata"]["usage"] for event in events if "metadata" in event)
    found.append([arn, usage["inputTokens"], usage["outputTokens"]])

body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 30, "messages": [{"role": "user", "content": "hi"}]}
answer = json.loads(BEDROCK.invoke_model(modelId=CLAUDE, body=json.dumps(body))["body"].read())
found.append([CLAUDE, answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]])

try:
    BEDROCK.converse(modelId=UNKNOWN, **ASKED)
    raise SystemExit("a profile that does not exist was answered")
except botocore.exceptions.ClientError as error:
    message = error.response["Error"]["Message"]
    assert "ResourceNotFoundException" in message and "[models.names]" in message, message
print(json.dumps(found))
