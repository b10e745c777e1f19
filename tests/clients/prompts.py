"""The openai package and boto3, buffered and streamed, name a template: the answer, its usage and its
cost are those of the same request with the template's words written out.

Usage: prompts.py GATEWAY_URL
"""

import json
import sys

import boto3
import botocore.config
import openai

GATEWAY = sys.argv[1]
MODEL = "amazon.nova-lite-v1:0"
QUESTION = "Where is my parcel?"
SYSTEM = "You answer for the shop."
USER = f"Question: {QUESTION}"
VARIABLES = {"question": QUESTION}
PARAMETERS = {"temperature": 0.25, "max_tokens": 300, "stop": ["END"]}
HEADERS = {"x-kairos-prompt": "support", "x-kairos-prompt-variables": json.dumps(VARIABLES)}

OPENAI = openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key="none", max_retries=0)
BEDROCK = boto3.client(
    "bedrock-runtime",
    region_name="us-east-1",
    endpoint_url=GATEWAY,
    aws_access_key_id="anything",
    aws_secret_access_key="anything",
    config=botocore.config.Config(retries={"total_max_attempts": 1}),
)


def chat(stream, messages, **more):
    arguments = {"model": MODEL, "messages": messages, **more}
    if not stream:
        answer = OPENAI.chat.completions.create(**arguments)
        return answer.choices[0].message.content, answer.usage.prompt_tokens, answer.usage.completion_tokens
    chunks = list(OPENAI.chat.completions.create(stream=True, stream_options={"include_usage": True}, **arguments))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    usage = chunks[-1].usage
    return text, usage.prompt_tokens, usage.completion_tokens


def converse(stream, headers=None, **arguments):
    def add(request, **_):
        for name, value in (headers or {}).items():
            request.headers[name] = value

    event = f"before-sign.bedrock-runtime.{'ConverseStream' if stream else 'Converse'}"
    BEDROCK.meta.events.register(event, add, unique_id="headers")
    try:
        if not stream:
            answer = BEDROCK.converse(modelId=MODEL, **arguments)
            text = answer["output"]["message"]["content"][0]["text"]
            return text, answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]
        events = list(BEDROCK.converse_stream(modelId=MODEL, **arguments)["stream"])
        text = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)
        usage = next(event["metadata"]["usage"] for event in events if "metadata" in event)
        return text, usage["inputTokens"], usage["outputTokens"]
    finally:
        BEDROCK.meta.events.unregister(event, unique_id="headers")


for stream in [False, True]:
    written_out = chat(
        stream, [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}], **PARAMETERS
    )
    in_body = chat(stream, [], extra_body={"prompt": {"id": "support", "variables": VARIABLES}})
    in_headers = chat(stream, [], extra_headers=HEADERS)
    own = {
        "system": [{"text": SYSTEM}],
        "messages": [{"role": "user", "content": [{"text": USER}]}],
        "inferenceConfig": {"temperature": 0.25, "maxTokens": 300, "stopSequences": ["END"]},
    }
    native = converse(stream, **own)
    named = converse(stream, headers=HEADERS)
    wrapped = converse(
        stream, {"x-kairos-prompt": "support"}, promptVariables={name: {"text": text} for name, text in VARIABLES.items()}
    )
    for answer in [in_body, in_headers, native, named, wrapped]:
        assert answer == written_out, (stream, answer, written_out)

try:
    chat(False, [], extra_body={"prompt": {"id": "support"}})
except openai.BadRequestError as error:
    assert error.param == "prompt.variables.question", error
    assert "it takes product (default \"the shop\"), question" in str(error), error
else:
    raise AssertionError("a variable without a value was accepted")
