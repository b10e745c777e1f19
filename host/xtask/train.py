"""Runs a gateway through what gateways do, so that its build notes down which of its code that is.

Usage: train.py KAIROS BESIDE GUESTS POLICIES PROFILES, where KAIROS is built to take notes, GUESTS and POLICIES are
the folders of what decides, and PROFILES is where the notes go. Bedrock is simulated, and keys are made, by BESIDE,
whose notes, if it takes any, are left out.
"""

import concurrent.futures
import http.client
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

KAIROS, BESIDE, GUESTS, POLICIES, PROFILES = map(pathlib.Path, sys.argv[1:])
CONNECTIONS = 32
REQUESTS = 30_000

TEXT = "Write a Python function that adds two numbers, with a docstring and type hints. "
TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def chat(model, stream, times, **more):
    messages = [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": TEXT * times}]
    body = {"model": model, "messages": messages, "max_tokens": 512, "stream": stream, **more}
    return "/v1/chat/completions", body


def converse(model, operation):
    said = [{"role": "user", "content": [{"text": TEXT * 4}]}]
    return f"/model/{model}/{operation}", {"messages": said, "inferenceConfig": {"maxTokens": 300}}


def invoke(model, operation, body):
    return f"/model/{model}/{operation}", body


CLAUDE = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 300,
    "messages": [{"role": "user", "content": TEXT}],
}
NOVA = {"messages": [{"role": "user", "content": [{"text": TEXT}]}], "inferenceConfig": {"maxTokens": 300}}
# Mostly chats, as most callers have.
CALLS = [
    chat("auto", False, 6),
    chat("auto", True, 6),
    converse("amazon.nova-lite-v1:0", "converse"),
    chat("auto", False, 1),
    converse("amazon.nova-lite-v1:0", "converse-stream"),
    chat("auto", False, 20, temperature=0.5),
    invoke("anthropic.claude-haiku-4-5-20251001-v1:0", "invoke", CLAUDE),
    chat("nova-micro", False, 6),
    chat("auto", False, 6, tools=[TOOL]),
    invoke("anthropic.claude-haiku-4-5-20251001-v1:0", "invoke-with-response-stream", CLAUDE),
    chat("auto", True, 2),
    invoke("amazon.nova-pro-v1:0", "invoke", NOVA),
    ("/v1/generate", {"prompt": TEXT, "max_tokens": 200}),
]

KEYS = """
[auth]
require_key = true
[budget]
daily_limit_usd = "1000000.00"
[limits]
rates = [{ name = "each", each_key = true, requests_per_minute = 1000000000, tokens_per_minute = 1000000000000 }]
[[budgets]]
name = "team"
team = "search"
limit_usd = "1000000.00"
period = "month"
"""
GUARD = "[guard]\npersonal_data = true\n"

ENV = {
    "PATH": os.environ.get("PATH", ""),
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
}


class Server:
    """A server of this program, until the end of the block: it is told to stop, as notes are written at its end."""

    def __init__(self, program, folder, notes, *arguments, **env):
        env = {**ENV, "LLVM_PROFILE_FILE": str(notes / "%p.profraw"), **env}
        self.log = open(folder / f"{arguments[0]}.log", "w+")
        command = [program, *arguments, "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        said = iter(self.process.stdout.readline, "")
        self.address = next((m[1] for m in (re.search(r"http://(\S+)", line) for line in said) if m), None)
        if self.address is None:
            self.log.seek(0)
            sys.exit(f"{arguments[0]} did not start: {self.log.read()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        if self.process.wait() != 0:
            self.log.seek(0)
            sys.exit(f"it ended with {self.process.returncode}: {self.log.read()}")


def serve(name, routers, config, keyed):
    """A gateway with routers that are swapped, one for the other, and a configuration; and its requests."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "policies").mkdir()
        swap(folder, routers[0])
        (folder / "kairos.toml").write_text(config)
        with Server(BESIDE, folder, folder, "simulate") as simulator:
            env = {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": f"http://{simulator.address}"}
            with Server(KAIROS, folder, PROFILES, "serve", "--policies", "policies", "--data", "data", **env) as gateway:
                headers = {"content-type": "application/json"}
                if keyed:
                    headers["authorization"] = f"Bearer {make_key(folder)}"
                with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
                    asking = [pool.submit(ask, gateway.address, headers, i) for i in range(CONNECTIONS)]
                    for router in itertools.cycle(routers):
                        swap(folder, router)
                        if not concurrent.futures.wait(asking, timeout=0.1).not_done:
                            break
                answered = sum(one.result() for one in asking)
        print(f"{name}: {answered} answers", file=sys.stderr)


def swap(folder, router):
    """Lets a router serve, all at once."""
    served = folder / "policies" / f"router{router.suffix}"
    served.with_suffix(".new").write_bytes(router.read_bytes())
    served.with_suffix(".new").rename(served)


def make_key(folder):
    command = [BESIDE, "key", "create", "search", "--tag", "team=search", "--tag", "env=prod", "--json"]
    command += ["--budget-usd", "1000000", "--budget-period", "day", "--rpm", "1000000000", "--data", "data"]
    env = {**ENV, "LLVM_PROFILE_FILE": str(folder / "key.profraw")}
    return json.loads(subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True).stdout)["key"]


def ask(address, headers, first):
    """One connection's requests."""
    connection = http.client.HTTPConnection(address)
    numbers = range(first, REQUESTS, CONNECTIONS)
    for number in numbers:
        path, body = CALLS[number % len(CALLS)]
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {said}")
    return len(numbers)


COMPONENTS = [GUESTS / "score-router.wasm", GUESTS / "latency-router.wasm"]
serve("components", COMPONENTS, "", False)
serve("components, keys, budgets and rates", COMPONENTS, KEYS, True)
serve("a script, keys and the guard", [POLICIES / "task.rhai"], KEYS + GUARD, True)
