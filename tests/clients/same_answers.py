"""The openai package, boto3 and plain HTTP, buffered and streamed, against one gateway: the same
text, stop reason, usage and cost for the same prompt, and errors in each client's own types.

Usage: same_answers.py GATEWAY_URL SIMULATOR_URL
"""

import http.client
import json
import sys
import urllib.parse
import urllib.request

import boto3
import botocore.config
import botocore.exceptions
import openai

GATEWAY, SIMULATOR = sys.argv[1:]

OPENAI = openai.OpenAI(base_url=f"{GATEWAY}/v1", api_key="none", max_retries=0)
BEDROCK = boto3.client(
    "bedrock-runtime",
    region_name="us-east-1",
    endpoint_url=GATEWAY,
    aws_access_key_id="anything",
    aws_secret_access_key="anything",
    config=botocore.config.Config(retries={"total_max_attempts": 1}),
)

FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}

TOOL = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}


def get(url):
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def cost_is_the_bill(request_id):
    """What the gateway says a request cost is what the simulated AWS bills for it."""
    record = get(f"{GATEWAY}/v1/requests/{request_id}")
    bill = get(f"{SIMULATOR}/sim/v1/bill/{request_id}-1")
    assert record["cost_usd"] == bill["cost_usd"], (record, bill)
    assert record["attempts"][0]["ledger"] == "settled", record
    return record["cost_usd"]


def seen(text, stop, usage, tools, request_id):
    return {
        "text": text,
        "stop": stop,
        "usage": usage,
        "tools": tools,
        "cost": cost_is_the_bill(request_id),
    }


def by_openai(model, case):
    raw = OPENAI.chat.completions.with_raw_response.create(model=model, **case["openai"])
    answer = raw.parse()
    message = answer.choices[0].message
    tools = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or []]
    assert raw.headers["x-kairos-cost-usd"] == cost_is_the_bill(raw.headers["x-kairos-request-id"])
    usage = (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens)
    return seen(message.content or "", answer.choices[0].finish_reason, usage, tools, raw.headers["x-kairos-request-id"])


def by_openai_streamed(model, case):
    raw = OPENAI.chat.completions.with_raw_response.create(
        model=model, stream=True, stream_options={"include_usage": True}, **case["openai"]
    )
    text, stop, usage, tools = "", None, None, {}
    roles = []
    for chunk in raw.parse():
        if chunk.usage:
            usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens, chunk.usage.total_tokens)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            stop = choice.finish_reason or stop
            if choice.delta.role:
                roles.append(choice.delta.role)
            for call in choice.delta.tool_calls or []:
                known = tools.setdefault(call.index, ["", ""])
                known[0] += call.function.name or ""
                known[1] += call.function.arguments or ""
    assert roles == ["assistant"], roles
    tools = [(name, json.loads(arguments)) for name, arguments in tools.values()]
    return seen(text, stop, usage, tools, raw.headers["x-kairos-request-id"])


def bedrock_usage(usage):
    return (usage["inputTokens"], usage["outputTokens"], usage["totalTokens"])


def by_boto3(model, case):
    answer = BEDROCK.converse(modelId=model, **case["bedrock"])
    blocks = answer["output"]["message"]["content"]
    text = "".join(block.get("text", "") for block in blocks)
    tools = [(block["toolUse"]["name"], block["toolUse"]["input"]) for block in blocks if "toolUse" in block]
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-kairos-cost-usd"] == cost_is_the_bill(headers["x-kairos-request-id"])
    return seen(text, FINISH[answer["stopReason"]], bedrock_usage(answer["usage"]), tools, headers["x-kairos-request-id"])


def by_boto3_streamed(model, case):
    answer = BEDROCK.converse_stream(modelId=model, **case["bedrock"])
    text, stop, usage, tools = "", None, None, {}
    for event in answer["stream"]:
        if "contentBlockStart" in event:
            start = event["contentBlockStart"]
            tools[start["contentBlockIndex"]] = [start["start"]["toolUse"]["name"], ""]
        if "contentBlockDelta" in event:
            delta = event["contentBlockDelta"]
            text += delta["delta"].get("text", "")
            if "toolUse" in delta["delta"]:
                tools[delta["contentBlockIndex"]][1] += delta["delta"]["toolUse"]["input"]
        if "messageStop" in event:
            stop = FINISH[event["messageStop"]["stopReason"]]
        if "metadata" in event:
            usage = bedrock_usage(event["metadata"]["usage"])
    tools = [(name, json.loads(arguments or "{}")) for name, arguments in tools.values()]
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    return seen(text, stop, usage, tools, headers["x-kairos-request-id"])


def post(path, body):
    address = urllib.parse.urlparse(GATEWAY)
    connection = http.client.HTTPConnection(address.hostname, address.port)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    return connection.getresponse()


def by_plain_http(model, case):
    answer = post("/v1/chat/completions", {"model": model, **case["openai"]})
    body = json.load(answer)
    assert answer.status == 200, body
    choice, usage = body["choices"][0], body["usage"]
    calls = choice["message"].get("tool_calls", [])
    tools = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    usage = (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"])
    text = choice["message"]["content"] or ""
    return seen(text, choice["finish_reason"], usage, tools, answer.headers["x-kairos-request-id"])


def by_plain_http_streamed(model, case):
    body = {"model": model, "stream": True, "stream_options": {"include_usage": True}, **case["openai"]}
    answer = post("/v1/chat/completions", body)
    assert answer.headers["content-type"] == "text/event-stream", answer.headers
    text, stop, usage, tools, comments = "", None, None, {}, []
    lines = answer.read().decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""], lines[-3:]
    for line in lines[:-2]:
        if line.startswith(": "):
            comments.append(line)
            continue
        chunk = json.loads(line.removeprefix("data: "))
        if chunk["usage"]:
            usage = tuple(chunk["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
            stop = choice["finish_reason"] or stop
            for call in choice["delta"].get("tool_calls", []):
                known = tools.setdefault(call["index"], ["", ""])
                known[0] += call["function"].get("name", "")
                known[1] += call["function"]["arguments"]
    request_id = answer.headers["x-kairos-request-id"]
    assert f"cost_usd={cost_is_the_bill(request_id)}" in comments[-1], comments
    tools = [(name, json.loads(arguments)) for name, arguments in tools.values()]
    return seen(text, stop, usage, tools, request_id)


def text_case(prompt, system=None, **limits):
    openai_limits = {
        name: limits[key]
        for name, key in (("max_tokens", "max"), ("temperature", "temperature"), ("stop", "stop"))
        if key in limits
    }
    inference = {
        name: limits[key]
        for name, key in (("maxTokens", "max"), ("temperature", "temperature"), ("stopSequences", "stop"))
        if key in limits
    }
    messages = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": prompt}]
    bedrock = {"messages": [{"role": "user", "content": [{"text": prompt}]}]}
    if system:
        bedrock["system"] = [{"text": system}]
    if inference:
        bedrock["inferenceConfig"] = inference
    return {"openai": {"messages": messages, **openai_limits}, "bedrock": bedrock}


def tool_case(forced):
    prompt = "What is the weather like in Oslo? Use get_weather."
    case = {
        "openai": {
            "messages": [{"role": "user", "content": prompt}],
            "tools": [{"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": TOOL}}],
        },
        "bedrock": {
            "messages": [{"role": "user", "content": [{"text": prompt}]}],
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "get_weather", "description": "Weather", "inputSchema": {"json": TOOL}}}]
            },
        },
    }
    if forced:
        case["openai"]["tool_choice"] = {"type": "function", "function": {"name": "get_weather"}}
        case["bedrock"]["toolConfig"]["toolChoice"] = {"tool": {"name": "get_weather"}}
    return case


def tool_result_case():
    case = tool_case(False)
    arguments = {"city": "Oslo"}
    case["openai"]["messages"] += [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "get_weather", "arguments": json.dumps(arguments)}}
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "cold and clear"},
    ]
    case["bedrock"]["messages"] += [
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t1", "name": "get_weather", "input": arguments}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "cold and clear"}]}}]},
    ]
    return case


def turns_case():
    turns = [("user", "My name is Åsa 🌍."), ("assistant", "Hello Åsa."), ("user", "What is my name?")]
    return {
        "openai": {"messages": [{"role": role, "content": text} for role, text in turns]},
        "bedrock": {"messages": [{"role": role, "content": [{"text": text}]} for role, text in turns]},
    }


CASES = {
    "plain": text_case("What is the capital of Norway?"),
    "system": text_case("Hello", system="You are terse."),
    "limit": text_case("Tell me a long story", max=7),
    "stop": text_case('Say "one two three four" please', stop=["three"], temperature=0.5),
    "turns": turns_case(),
    "tool": tool_case(False),
    "forced tool": tool_case(True),
    "tool result": tool_result_case(),
}

WAYS = [by_openai, by_openai_streamed, by_boto3, by_boto3_streamed, by_plain_http, by_plain_http_streamed]


def same_answers():
    for model in ("auto", "us.anthropic.claude-sonnet-4-6", "titan"):
        for name, case in CASES.items():
            answers = [way(model, case) for way in WAYS]
            for way, answer in zip(WAYS, answers):
                assert answer == answers[0], f"{name} on {model}: {way.__name__}: {answer} != {answers[0]}"
            assert answers[0]["text"] or answers[0]["tools"], (name, answers[0])
            print(f"ok: {name} on {model}: {answers[0]['stop']}, {answers[0]['cost']} USD")


def typed_errors():
    def openai_fails(kind, **arguments):
        try:
            OPENAI.chat.completions.create(**arguments)
        except kind as error:
            return error
        raise AssertionError(f"no {kind} for {arguments}")

    message = [{"role": "user", "content": "x"}]
    error = openai_fails(openai.NotFoundError, model="no-such-model", messages=message)
    assert error.code == "model_not_found" and "no-such-model" in error.message, error
    error = openai_fails(openai.BadRequestError, model="auto", messages=message, seed=7)
    assert (error.code, error.param) == ("unsupported_parameter", "seed"), error
    error = openai_fails(openai.BadRequestError, model="auto", messages=[])
    assert error.param == "messages", error

    def bedrock_fails(code, **arguments):
        try:
            BEDROCK.converse(**arguments)
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == code, error
            return error
        raise AssertionError(f"no {code} for {arguments}")

    said = [{"role": "user", "content": [{"text": "x"}]}]
    error = bedrock_fails("ValidationException", modelId="no-such-model", messages=said)
    assert isinstance(error, BEDROCK.exceptions.ValidationException)
    assert "no-such-model" in error.response["Error"]["Message"]
    bedrock_fails("ValidationException", modelId="auto", messages=[{"role": "user", "content": []}])
    body = json.dumps({"inputText": "x", "seed": 1})
    try:
        BEDROCK.invoke_model(modelId="amazon.titan-text-express-v1", body=body)
        raise AssertionError("a field that an ended model's successor is not given was accepted")
    except BEDROCK.exceptions.ValidationException as error:
        assert error.response["Error"]["Message"].startswith("seed: "), error
    print("ok: errors have each client's own types")


def native_bodies():
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": "What is the capital of Norway?"}],
    }
    model = "us.anthropic.claude-sonnet-4-6"
    whole = BEDROCK.invoke_model(modelId=model, body=json.dumps(body))
    answer = json.load(whole["body"])
    text = "".join(block["text"] for block in answer["content"])
    streamed = BEDROCK.invoke_model_with_response_stream(modelId=model, body=json.dumps(body))
    chunks = [json.loads(event["chunk"]["bytes"]) for event in streamed["body"]]
    assert text == "".join(chunk["delta"].get("text", "") for chunk in chunks if chunk["type"] == "content_block_delta")
    metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
    assert metrics["outputTokenCount"] == answer["usage"]["output_tokens"], (metrics, answer)
    costs = {
        cost_is_the_bill(each["ResponseMetadata"]["HTTPHeaders"]["x-kairos-request-id"]) for each in (whole, streamed)
    }
    assert len(costs) == 1, costs
    same = by_boto3(model, CASES["plain"])
    assert (same["text"], same["cost"]) == (text, costs.pop()), same
    print("ok: native bodies, whole and streamed")


def models():
    listed = [model.id for model in OPENAI.models.list()]
    assert listed[0] == "auto" and "us.anthropic.claude-sonnet-4-6" in listed, listed
    print(f"ok: {len(listed)} models listed")


if __name__ == "__main__":
    same_answers()
    typed_errors()
    native_bodies()
    models()
