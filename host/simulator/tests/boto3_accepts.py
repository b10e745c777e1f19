"""boto3 accepts everything the simulator answers.

    boto3_accepts.py BASE_URL

One line for each check; ends with a non-zero status at the first that fails. The models called here
are as they are on 2026-11-23, the day that the simulator should be started for. Faults are set and
cleared through the simulator's own interface, so nobody else may use it meanwhile.
"""

import json
import sys
import urllib.error
import urllib.request
import uuid

import boto3
from botocore.config import Config
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EventStreamError,
    ReadTimeoutError,
)
from urllib3.exceptions import ReadTimeoutError as SilentStream

BASE = sys.argv[1].rstrip("/")
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
THINKER = "global.anthropic.claude-sonnet-4-6"
LATEST = "us.anthropic.claude-sonnet-5-5"
NOVA = "us.amazon.nova-lite-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"

WEATHER = {
    "toolSpec": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "inputSchema": {
            "json": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer", "minimum": 1, "maximum": 7},
                },
                "required": ["city"],
            }
        },
    }
}


def client(secret=SECRET, region="us-east-1", timeout=10, service="bedrock-runtime", **more):
    return boto3.client(
        service,
        endpoint_url=BASE,
        region_name=region,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key=secret,
        config=Config(
            retries={"total_max_attempts": 1}, read_timeout=timeout, connect_timeout=5
        ),
        **more,
    )


bedrock = client()


def http(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data=data, method=method)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def fault(**fields):
    """Puts one fault in force that strikes every model once."""
    http("PUT", "/sim/v1/faults", [{"model": "*", "times": 1, **fields}])


def user(*blocks):
    return {"role": "user", "content": [{"text": b} if isinstance(b, str) else b for b in blocks]}


def text_of(answer):
    return "".join(block.get("text", "") for block in answer["output"]["message"]["content"])


def check(name):
    """Runs a function as a check of that name."""

    def run(function):
        function()
        http("DELETE", "/sim/v1/faults")
        print(f"ok  {name}", flush=True)

    return run


def refused(call, code, status, message=None):
    try:
        call()
    except ClientError as error:
        answer = error.response
        assert answer["Error"]["Code"] == code, answer
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == status, answer
        assert answer["ResponseMetadata"]["RequestId"], answer
        assert message is None or message in answer["Error"]["Message"], answer
        return answer
    raise AssertionError(f"{code} was expected, and nothing went wrong")


def at(value, path):
    """What lies at a path, if there is anything."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def gathered(stream):
    """Puts the events of a ConverseStream together as Converse would have answered."""
    blocks, answer, order = {}, {}, []
    for event in stream:
        (kind, value), = event.items()
        order.append(kind)
        if kind == "contentBlockStart":
            tool = value["start"]["toolUse"]
            blocks[value["contentBlockIndex"]] = {"toolUse": {**tool, "input": ""}}
        elif kind == "contentBlockDelta":
            block = blocks.setdefault(value["contentBlockIndex"], {})
            (what, delta), = value["delta"].items()
            if what == "text":
                block["text"] = block.get("text", "") + delta
            elif what == "toolUse":
                block["toolUse"]["input"] += delta["input"]
            else:
                thought = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})
                for key, piece in delta.items():
                    was = thought["reasoningText"].get(key, "")
                    thought["reasoningText"][key] = was + piece
        elif kind == "messageStop":
            answer.update(value)
        elif kind == "metadata":
            answer.update(value)
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    content = [blocks[index] for index in sorted(blocks)]
    answer["output"] = {"message": {"role": "assistant", "content": content}}
    return answer, order


def agree(**request):
    """The buffered and the streamed answer to a request are the same."""
    whole = bedrock.converse(**request)
    streamed, order = gathered(bedrock.converse_stream(**request)["stream"])
    assert order[0] == "messageStart" and order[-2:] == ["messageStop", "metadata"], order
    for field in ("output", "stopReason", "usage"):
        assert whole[field] == streamed[field], (field, whole[field], streamed[field])
    for field in ("additionalModelResponseFields", "trace", "serviceTier", "performanceConfig"):
        assert whole.get(field) == streamed.get(field), field
    return whole


def native_chunks(**request):
    stream = bedrock.invoke_model_with_response_stream(**request)["body"]
    return [json.loads(event["chunk"]["bytes"]) for event in stream]


def claude_body(**more):
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 400, **more}
    return json.dumps(body)


@check("converse: text, system, several turns, limits")
def _():
    answer = agree(
        modelId=CLAUDE,
        system=[{"text": "Be brief."}],
        messages=[
            user("What is a gateway?"),
            {"role": "assistant", "content": [{"text": "A door."}]},
            user("And budgets?"),
        ],
    )
    assert answer["stopReason"] == "end_turn"
    assert text_of(answer).startswith("[simulated] Claude Haiku 4.5")
    usage = answer["usage"]
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert answer["metrics"]["latencyMs"] >= 1

    cut = agree(modelId=CLAUDE, messages=[user("Hi")], inferenceConfig={"maxTokens": 5})
    assert cut["stopReason"] == "max_tokens" and cut["usage"]["outputTokens"] == 5

    stopped = agree(
        modelId=CLAUDE,
        messages=[user('Say "one END two"')],
        inferenceConfig={"stopSequences": ["END"]},
        additionalModelResponseFieldPaths=["/stop_sequence", "/usage/input_tokens", "/nothing"],
    )
    assert stopped["stopReason"] == "stop_sequence" and "END" not in text_of(stopped)
    fields = stopped["additionalModelResponseFields"]
    assert fields["stop_sequence"] == "END"
    assert fields["usage"]["input_tokens"] == stopped["usage"]["inputTokens"]


@check("converse: other families")
def _():
    for model in (NOVA, LLAMA, "mistral.mistral-large-2402-v1:0", "ai21.jamba-instruct-v1:0"):
        assert "[simulated]" in text_of(agree(modelId=model, messages=[user("Hello there")]))


@check("converse: ids as ARNs and prompt routers")
def _():
    account = "arn:aws:bedrock:us-east-1:123456789012:"
    for model in (
        account + "inference-profile/" + CLAUDE,
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
    ):
        agree(modelId=model, messages=[user("Hi")])
    router = account + "default-prompt-router/amazon.nova:1"
    short = agree(modelId=router, messages=[user("Hi")])
    assert "us.amazon.nova-lite" in short["trace"]["promptRouter"]["invokedModelId"]
    long = agree(modelId=router, messages=[user("words and more words " * 20)])
    assert "us.amazon.nova-pro" in long["trace"]["promptRouter"]["invokedModelId"]


@check("converse: tools")
def _():
    tools = {"tools": [WEATHER]}
    idle = agree(modelId=CLAUDE, messages=[user("Hello")], toolConfig=tools)
    assert idle["stopReason"] == "end_turn"
    for choice, words in (
        ({"auto": {}}, "Use get_weather for Oslo"),
        ({"any": {}}, "Hello"),
        ({"tool": {"name": "get_weather"}}, "Hello"),
    ):
        answer = agree(
            modelId=CLAUDE,
            messages=[user(words)],
            toolConfig={**tools, "toolChoice": choice},
        )
        assert answer["stopReason"] == "tool_use"
        call = answer["output"]["message"]["content"][-1]["toolUse"]
        assert call["name"] == "get_weather" and call["input"]["city"]
        assert 1 <= call["input"]["days"] <= 7
    result = {
        "toolResult": {
            "toolUseId": call["toolUseId"],
            "content": [{"json": {"celsius": -3}}, {"text": "and snow"}],
            "status": "success",
        }
    }
    answer = agree(
        modelId=CLAUDE,
        messages=[user("Hello"), answer["output"]["message"], user(result)],
        toolConfig=tools,
    )
    assert "and snow" in text_of(answer) and answer["stopReason"] == "end_turn"
    noargs = {"toolSpec": {"name": "ping", "inputSchema": {"json": {"type": "object"}}}}
    answer = agree(modelId=CLAUDE, messages=[user("ping")], toolConfig={"tools": [noargs]})
    assert answer["output"]["message"]["content"][-1]["toolUse"]["input"] == {}


@check("converse: reasoning")
def _():
    answer = agree(
        modelId=THINKER,
        messages=[user("Why?")],
        additionalModelRequestFields={"thinking": {"type": "adaptive"}},
    )
    thought = answer["output"]["message"]["content"][0]["reasoningContent"]["reasoningText"]
    assert thought["text"] and thought["signature"]
    agree(
        modelId=THINKER,
        messages=[user("Why?"), answer["output"]["message"], user("And then?")],
        additionalModelRequestFields={"thinking": {"type": "adaptive"}},
    )


@check("converse: attachments")
def _():
    plain = agree(modelId=CLAUDE, messages=[user("Look")])
    image = {"image": {"format": "png", "source": {"bytes": b"\x89PNG" + bytes(4000)}}}
    document = {"document": {"format": "txt", "name": "d", "source": {"bytes": b"some text"}}}
    rich = agree(modelId=CLAUDE, messages=[user("Look", image, document)])
    assert rich["usage"]["inputTokens"] > plain["usage"]["inputTokens"] + 85
    assert "1 image" in text_of(rich) and "1 document" in text_of(rich)


@check("converse: structured output, tiers, latency")
def _():
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}, "score": {"type": "number"}},
        "required": ["kind", "score"],
    }
    answer = agree(
        modelId=CLAUDE,
        messages=[user("Classify this")],
        outputConfig={
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"schema": json.dumps(schema), "name": "o"}},
            }
        },
        performanceConfig={"latency": "optimized"},
        serviceTier={"type": "priority"},
        requestMetadata={"tenant": "acme"},
    )
    value = json.loads(text_of(answer))
    assert value["kind"] in ("a", "b") and isinstance(value["score"], (int, float))
    assert answer["performanceConfig"] == {"latency": "standard"}
    # Claude has no priority tier here, Nova Pro has.
    assert answer["serviceTier"] == {"type": "default"}
    answer = agree(
        modelId="us.amazon.nova-pro-v1:0",
        messages=[user("Hi")],
        serviceTier={"type": "priority"},
    )
    assert answer["serviceTier"] == {"type": "priority"}


@check("converse: prompt caching")
def _():
    long = f"{uuid.uuid4()} " + "the same words again and again " * 900
    request = {
        "modelId": CLAUDE,
        "system": [{"text": long}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        "messages": [
            user("a question " * 10, {"cachePoint": {"type": "default"}}, "and its end"),
        ],
    }
    first = bedrock.converse(**request)["usage"]
    hour, minutes = first["cacheDetails"]
    assert (hour["ttl"], minutes["ttl"]) == ("1h", "5m")
    assert hour["inputTokens"] + minutes["inputTokens"] == first["cacheWriteInputTokens"]
    assert first["cacheReadInputTokens"] == 0 and first["cacheWriteInputTokens"] > 4096
    second = agree(**request)["usage"]
    assert second["cacheReadInputTokens"] == first["cacheWriteInputTokens"]
    assert second["inputTokens"] == first["inputTokens"] < 20
    assert second["totalTokens"] == first["totalTokens"]


@check("converse: guardrails")
def _():
    config = {
        "guardrailIdentifier": "sim-guardrail",
        "guardrailVersion": "1",
        "trace": "enabled",
    }
    fine = agree(modelId=CLAUDE, messages=[user("Hello")], guardrailConfig=config)
    assert fine["stopReason"] == "end_turn"
    assert fine["trace"]["guardrail"]["inputAssessment"]["sim-guardrail"]["invocationMetrics"]

    bad_in = agree(
        modelId=CLAUDE, messages=[user("On the forbidden-topic")], guardrailConfig=config
    )
    assert bad_in["stopReason"] == "guardrail_intervened"
    assert bad_in["usage"] == {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
    found = bad_in["trace"]["guardrail"]["inputAssessment"]["sim-guardrail"]
    assert found["topicPolicy"]["topics"][0]["action"] == "BLOCKED"

    guarded = {"guardContent": {"text": {"text": "what is checked", "qualifiers": ["query"]}}}
    bad_out = agree(
        modelId=CLAUDE,
        messages=[user(guarded, 'Say "forbidden-topic"')],
        guardrailConfig=config,
    )
    assert bad_out["stopReason"] == "guardrail_intervened"
    assert bad_out["usage"]["outputTokens"] > 0
    assert "forbidden-topic" in bad_out["trace"]["guardrail"]["modelOutput"][0]


@check("invoke: Claude")
def _():
    tool = {
        "name": "get_weather",
        "input_schema": WEATHER["toolSpec"]["inputSchema"]["json"],
    }
    for body in (
        claude_body(messages=[{"role": "user", "content": "Hello there"}]),
        claude_body(
            messages=[{"role": "user", "content": "Hello"}],
            tools=[tool],
            tool_choice={"type": "any"},
        ),
        claude_body(
            messages=[{"role": "user", "content": "Hello"}],
            thinking={"type": "adaptive"},
        ),
    ):
        answer = bedrock.invoke_model(modelId=THINKER, body=body)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        message = json.loads(answer["body"].read())
        assert headers["x-amzn-bedrock-input-token-count"] == str(message["usage"]["input_tokens"])
        assert headers["x-amzn-bedrock-output-token-count"] == str(
            message["usage"]["output_tokens"]
        )
        chunks = native_chunks(modelId=THINKER, body=body)
        assert chunks[0]["type"] == "message_start" and chunks[-1]["type"] == "message_stop"
        metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
        assert metrics["inputTokenCount"] == message["usage"]["input_tokens"]
        assert metrics["outputTokenCount"] == message["usage"]["output_tokens"]
        assert chunks[-2]["delta"]["stop_reason"] == message["stop_reason"]
        said = "".join(c["delta"].get("text", "") for c in chunks if "index" in c and "delta" in c)
        assert said == "".join(block.get("text", "") for block in message["content"])


@check("invoke: Claude agrees with converse")
def _():
    answer = bedrock.converse(
        modelId=THINKER,
        system=[{"text": "Be kind."}],
        messages=[user("Compare the two dialects")],
        inferenceConfig={"maxTokens": 400},
    )
    body = claude_body(
        system="Be kind.", messages=[{"role": "user", "content": "Compare the two dialects"}]
    )
    message = json.loads(bedrock.invoke_model(modelId=THINKER, body=body)["body"].read())
    assert message["content"] == [{"type": "text", "text": text_of(answer)}]
    assert message["stop_reason"] == answer["stopReason"]
    assert message["usage"]["input_tokens"] == answer["usage"]["inputTokens"]
    assert message["usage"]["output_tokens"] == answer["usage"]["outputTokens"]


@check("invoke: caching, guardrail and tier by headers")
def _():
    long = f"{uuid.uuid4()} " + "the same words again and again " * 300
    system = [{"type": "text", "text": long, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    body = claude_body(system=system, messages=[{"role": "user", "content": "Hi"}])
    first = bedrock.invoke_model(modelId=THINKER, body=body, serviceTier="default")
    assert first["serviceTier"] == "default"
    usage = json.loads(first["body"].read())["usage"]
    assert usage["cache_creation"]["ephemeral_1h_input_tokens"] > 1024
    assert usage["cache_creation"]["ephemeral_5m_input_tokens"] == 0
    metrics = native_chunks(modelId=THINKER, body=body)[-1]["amazon-bedrock-invocationMetrics"]
    assert metrics["cacheReadInputTokenCount"] == usage["cache_creation_input_tokens"]
    blocked = bedrock.invoke_model(
        modelId=THINKER,
        body=claude_body(messages=[{"role": "user", "content": "forbidden-topic"}]),
        guardrailIdentifier="sim-guardrail",
        guardrailVersion="DRAFT",
        trace="ENABLED",
    )
    message = json.loads(blocked["body"].read())
    assert message["amazon-bedrock-guardrailAction"] == "INTERVENED"
    assert message["amazon-bedrock-trace"]["guardrail"]["inputAssessment"]


@check("invoke: every family")
def _():
    chat = {"messages": [{"role": "user", "content": "Hello there"}]}
    nova = {"messages": [{"role": "user", "content": [{"text": "Hello there"}]}]}
    for model, body, whole, piece in (
        (LLAMA, {"prompt": "Hello there"}, ("generation",), ("generation",)),
        (
            "mistral.mistral-7b-instruct-v0:2",
            {"prompt": "<s>[INST] Hello there [/INST]"},
            ("outputs", 0, "text"),
            ("outputs", 0, "text"),
        ),
        (
            "mistral.mistral-large-2407-v1:0",
            chat,
            ("choices", 0, "message", "content"),
            ("choices", 0, "delta", "content"),
        ),
        (
            "ai21.jamba-1-5-large-v1:0",
            chat,
            ("choices", 0, "message", "content"),
            ("choices", 0, "delta", "content"),
        ),
        (
            "us.deepseek.r1-v1:0",
            {"prompt": "Hello there"},
            ("choices", 0, "text"),
            ("choices", 0, "text"),
        ),
        (
            NOVA,
            nova,
            ("output", "message", "content", 0, "text"),
            ("contentBlockDelta", "delta", "text"),
        ),
    ):
        request = {"modelId": model, "body": json.dumps(body)}
        said = at(json.loads(bedrock.invoke_model(**request)["body"].read()), whole)
        chunks = native_chunks(**request)
        assert said and said == "".join(at(chunk, piece) or "" for chunk in chunks), model
        metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
        row = http("GET", "/sim/v1/bill")["rows"][-1]
        assert metrics["outputTokenCount"] == row["output_tokens"], (model, row)
    for model, body in (
        ("ai21.j2-ultra-v1", {"prompt": "Hi"}),
        ("cohere.command-r-v1:0", {"message": "Hi"}),
        ("amazon.titan-text-express-v1", {"inputText": "Hi"}),
    ):
        for call in (bedrock.invoke_model, bedrock.invoke_model_with_response_stream):
            refused(
                lambda: call(modelId=model, body=json.dumps(body)),
                "ResourceNotFoundException",
                404,
                "reached the end of its life",
            )


@check("control plane: models and profiles")
def _():
    control = client(service="bedrock")
    models = control.list_foundation_models(byOutputModality="TEXT")["modelSummaries"]
    ids = {model["modelId"] for model in models}
    assert "anthropic.claude-sonnet-4-6" in ids and "ai21.j2-ultra-v1" not in ids
    jamba = control.get_foundation_model(modelIdentifier="ai21.jamba-1-5-large-v1:0")["modelDetails"]
    lifecycle = jamba["modelLifecycle"]
    assert lifecycle["status"] == "LEGACY", lifecycle
    assert lifecycle["endOfLifeTime"].strftime("%Y-%m-%d") == "2026-11-26", lifecycle
    available = control.get_foundation_model_availability(modelId="anthropic.claude-sonnet-4-6")
    assert available["authorizationStatus"] == "AUTHORIZED"
    profiles, token = [], {}
    while token is not None:
        page = control.list_inference_profiles(typeEquals="SYSTEM_DEFINED", maxResults=9, **token)
        profiles += page["inferenceProfileSummaries"]
        token = {"nextToken": page["nextToken"]} if "nextToken" in page else None
    assert THINKER in {profile["inferenceProfileId"] for profile in profiles}
    refused(
        lambda: control.get_foundation_model(modelIdentifier="ai21.j2-ultra-v1"),
        "ResourceNotFoundException",
        404,
    )


@check("count tokens")
def _():
    messages = [user("How many tokens is this?")]
    converse = bedrock.count_tokens(
        modelId="anthropic.claude-sonnet-4-6", input={"converse": {"messages": messages}}
    )
    answer = bedrock.converse(modelId=THINKER, messages=messages)
    assert converse["inputTokens"] == answer["usage"]["inputTokens"]
    body = claude_body(messages=[{"role": "user", "content": "How many tokens is this?"}])
    native = bedrock.count_tokens(
        modelId="anthropic.claude-sonnet-4-6", input={"invokeModel": {"body": body}}
    )
    assert native == {**native, "inputTokens": converse["inputTokens"]}


@check("errors: who and what")
def _():
    hi = [user("Hi")]
    refused(
        lambda: client(secret="wrong").converse(modelId=CLAUDE, messages=hi),
        "InvalidSignatureException",
        403,
    )
    stranger = client(aws_session_token="nobody's")
    refused(
        lambda: stranger.converse(modelId=CLAUDE, messages=hi),
        "UnrecognizedClientException",
        403,
        "The security token included in the request is invalid.",
    )
    for model, code, status, message in (
        ("no.such-model", "ValidationException", 400, "The provided model identifier is invalid."),
        (
            "anthropic.claude-3-haiku-20240307-v1:0",
            "ResourceNotFoundException",
            404,
            "This model version has reached the end of its life.",
        ),
        ("anthropic.claude-sonnet-5-5", "ValidationException", 400, "with on-demand throughput"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/none",
            "ResourceNotFoundException",
            404,
            None,
        ),
    ):
        for call in (bedrock.converse, bedrock.converse_stream):
            refused(lambda: call(modelId=model, messages=hi), code, status, message)


@check("errors: what a model cannot take")
def _():
    hi = [user("Hi")]
    for request, message in (
        (
            {"modelId": "mistral.mistral-7b-instruct-v0:2", "system": [{"text": "x"}]},
            "doesn't support system messages",
        ),
        (
            {"modelId": "mistral.mistral-7b-instruct-v0:2", "toolConfig": {"tools": [WEATHER]}},
            "doesn't support tool use",
        ),
        (
            {
                "modelId": LLAMA,
                "toolConfig": {"tools": [WEATHER], "toolChoice": {"any": {}}},
            },
            "toolConfig.toolChoice.any",
        ),
        ({"modelId": LATEST, "inferenceConfig": {"temperature": 0.5}}, "temperature"),
        ({"modelId": CLAUDE, "inferenceConfig": {"maxTokens": 64001}}, "exceeds the model limit"),
    ):
        refused(
            lambda: bedrock.converse(messages=hi, **request), "ValidationException", 400, message
        )
    refused(
        lambda: bedrock.invoke_model(modelId=NOVA, body="{}"),
        "ValidationException",
        400,
        "required key [messages] not found",
    )
    refused(
        lambda: bedrock.converse(modelId=LLAMA, messages=[user("word " * 128_000)]),
        "ValidationException",
        400,
        "Input is too long for requested model.",
    )


@check("faults: errors")
def _():
    hi = [user("Hi")]
    for name, status in (
        ("AccessDeniedException", 403),
        ("ConflictException", 400),
        ("InternalServerException", 500),
        ("ModelErrorException", 424),
        ("ModelNotReadyException", 429),
        ("ModelStreamErrorException", 424),
        ("ModelTimeoutException", 408),
        ("ResourceNotFoundException", 404),
        ("ServiceQuotaExceededException", 400),
        ("ServiceUnavailableException", 503),
        ("ThrottlingException", 429),
        ("ValidationException", 400),
    ):
        for call in (
            lambda: bedrock.converse(modelId=CLAUDE, messages=hi),
            lambda: bedrock.converse_stream(modelId=CLAUDE, messages=hi),
            lambda: bedrock.invoke_model(modelId=CLAUDE, body="{}"),
            lambda: bedrock.count_tokens(modelId=CLAUDE, input={"converse": {"messages": hi}}),
        ):
            fault(fault=name, message="on purpose", retry_after=2)
            answer = refused(call, name, status, "on purpose")
            assert answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "2"
    fault(fault="ModelErrorException")
    answer = refused(
        lambda: bedrock.invoke_model(modelId=CLAUDE, body="{}"), "ModelErrorException", 424
    )
    assert (answer["originalStatusCode"], answer["resourceName"]) == (500, CLAUDE)
    fault(fault="empty_429")
    refused(lambda: bedrock.converse(modelId=CLAUDE, messages=hi), "429", 429)


@check("faults: connections")
def _():
    for call in (bedrock.converse, bedrock.converse_stream):
        fault(fault="connection_reset")
        try:
            call(modelId=CLAUDE, messages=[user("Hi")])
            raise AssertionError("the connection was not reset")
        except ConnectionClosedError:
            pass
    impatient = client(timeout=0.5)
    fault(fault="stall")
    try:
        impatient.converse(modelId=CLAUDE, messages=[user("Hi")])
        raise AssertionError("the request was answered")
    except ReadTimeoutError:
        pass
    fault(fault="stall_after", after=2)
    stream = impatient.converse_stream(modelId=CLAUDE, messages=[user("Hi")])["stream"]
    seen = []
    try:
        for event in stream:
            seen.append(next(iter(event)))
        raise AssertionError("the stream ended")
    except SilentStream:
        pass
    assert seen == ["messageStart", "contentBlockDelta", "contentBlockDelta"], seen


@check("faults: damaged streams")
def _():
    def seen(expected=None, **fields):
        fault(**fields)
        kinds = []
        try:
            stream = bedrock.converse_stream(modelId=CLAUDE, messages=[user("Hi")])["stream"]
            for event in stream:
                kinds.append(next(iter(event)))
        except Exception as error:
            assert expected and isinstance(error, expected), error
            return kinds, error
        assert expected is None, "nothing went wrong"
        return kinds, None

    assert seen(fault="clean_eof")[0] == ["messageStart", "contentBlockDelta"]
    # botocore does not notice that the last frame is not whole.
    assert seen(fault="cut_frame")[0] == ["messageStart", "contentBlockDelta"]
    assert seen(ChecksumMismatch, fault="bad_checksum")[0] == ["messageStart", "contentBlockDelta"]
    kinds, _ = seen(fault="no_metadata")
    assert kinds[-1] == "messageStop"
    for name in (
        "internalServerException",
        "modelStreamErrorException",
        "validationException",
        "throttlingException",
        "serviceUnavailableException",
    ):
        kinds, error = seen(EventStreamError, fault="stream_exception", exception=name, after=0)
        assert kinds == [] and error.response["Error"]["Code"] == name
        kinds, error = seen(
            EventStreamError, fault="stream_exception", exception=name, after=2, message="boo"
        )
        assert kinds == ["messageStart", "contentBlockDelta", "contentBlockDelta"]
        assert error.response["Error"]["Message"] == "boo"
    body = claude_body(messages=[{"role": "user", "content": "Hi"}])
    fault(fault="stream_exception", exception="modelTimeoutException", after=1)
    try:
        native_chunks(modelId=THINKER, body=body)
        raise AssertionError("nothing was thrown")
    except EventStreamError as error:
        assert error.response["Error"]["Code"] == "modelTimeoutException"
    fault(fault="no_metadata")
    last = native_chunks(modelId=THINKER, body=body)[-1]
    assert last == {"type": "message_stop"}, last


@check("the bill")
def _():
    before = http("GET", "/sim/v1/bill")
    answer = bedrock.converse(modelId=THINKER, messages=[user("Hi")])
    fault(fault="ThrottlingException")
    refused(
        lambda: bedrock.converse(modelId=THINKER, messages=[user("Hi")]),
        "ThrottlingException",
        429,
    )
    bill = http("GET", f"/sim/v1/bill?after={before['totals']['rows']}")
    row, = bill["rows"]
    assert row["model"] == THINKER and row["route"] == "global" and row["region"] == "us-east-1"
    assert row["input_tokens"] == answer["usage"]["inputTokens"]
    assert row["output_tokens"] == answer["usage"]["outputTokens"]
    # 3 and 15 dollars per million tokens.
    microdollars = 3 * row["input_tokens"] + 15 * row["output_tokens"]
    assert round(float(row["cost_usd"]) * 1e6, 6) == microdollars, row
    assert [line["usage_type"] for line in row["usage"]] == [
        "USE1-MP:USE1_InputTokenCount_Global-Units",
        "USE1-MP:USE1_OutputTokenCount_Global-Units",
    ]
    again = http("GET", f"/sim/v1/bill/{row['invocation_id']}")
    assert again["rows"] == [row] and again["cost_usd"] == row["cost_usd"]


@check("control: bad faults are refused precisely")
def _():
    try:
        http("PUT", "/sim/v1/faults", [{"model": "*", "fault": "boom"}])
        raise AssertionError("that is no fault")
    except urllib.error.HTTPError as error:
        assert error.code == 400
        assert "no fault is called `boom`" in json.load(error)["message"]


print("all ok")
