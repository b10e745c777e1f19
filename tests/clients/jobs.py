"""Bedrock's asynchronous invocations as boto3's bedrock-runtime client speaks them, through the gateway:
started, repeated, looked at and listed, by two keys that know nothing of each other.

Usage: jobs.py GATEWAY_URL SIMULATOR_URL KEYS, where KEYS is JSON: two pairs of id and secret. Prints the ARNs
of the jobs that the first key began.
"""

import json
import sys
import urllib.request

import boto3
import botocore.config
from botocore.exceptions import ClientError

GATEWAY, SIMULATOR, KEYS = sys.argv[1:]


def client(pair):
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=GATEWAY,
        aws_access_key_id=pair[0],
        aws_secret_access_key=pair[1],
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


def refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    raise AssertionError(f"{arguments} was not refused")


def end(arn, status):
    body = json.dumps({"arn": arn, "status": status}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{SIMULATOR}/sim/v1/jobs", body, method="PUT")).read()


ours, theirs = map(client, json.loads(KEYS))
OUTPUT = {"s3OutputDataConfig": {"s3Uri": "s3://bucket/videos"}}


def video(text):
    return {"taskType": "TEXT_VIDEO", "textToVideoParams": {"text": text}, "videoGenerationConfig": {"durationSeconds": 6}}


start = {"modelId": "amazon.nova-reel-v1:1", "modelInput": video("a cat"), "outputDataConfig": OUTPUT}
begun = ours.start_async_invoke(clientRequestToken="mine", **start)
arn = begun["invocationArn"]
headers = begun["ResponseMetadata"]["HTTPHeaders"]
assert headers["x-kairos-cost-usd"] == "0.48", headers
assert "up to 0.48 USD are reserved" in headers["x-kairos-warnings"], headers

# The same request is the same job, another with its token is none; nobody else's token is ours.
assert ours.start_async_invoke(clientRequestToken="mine", **start)["invocationArn"] == arn
other = {**start, "modelInput": video("a dog")}
assert refused(ours.start_async_invoke, clientRequestToken="mine", **other)[0] == "ConflictException"
foreign = theirs.start_async_invoke(clientRequestToken="mine", **start)["invocationArn"]
assert foreign != arn

job = ours.get_async_invoke(invocationArn=arn)
assert (job["status"], job["clientRequestToken"], job["outputDataConfig"]) == ("InProgress", "mine", OUTPUT), job
assert job["modelArn"].endswith("foundation-model/amazon.nova-reel-v1:1"), job
code, message = refused(ours.get_async_invoke, invocationArn=foreign)
assert code == "ValidationException" and message == refused(ours.get_async_invoke, invocationArn="arn:none")[1], message

# boto3 makes a token of its own where it is given none.
second = ours.start_async_invoke(**other)["invocationArn"]
third = ours.start_async_invoke(**other)["invocationArn"]
assert len({arn, second, third}) == 3
pages = list(ours.get_paginator("list_async_invokes").paginate(maxResults=2, sortOrder="Ascending"))
listed = [[job["invocationArn"] for job in page["asyncInvokeSummaries"]] for page in pages]
assert len(listed) == 2 and sum(listed, [])[0] == arn and set(sum(listed, [])) == {arn, second, third}, listed
assert pages[0]["asyncInvokeSummaries"][0]["clientRequestToken"] == "mine"
assert [job["invocationArn"] for job in theirs.list_async_invokes()["asyncInvokeSummaries"]] == [foreign]

end(arn, "Completed")
end(second, "Failed")
assert ours.get_async_invoke(invocationArn=arn)["status"] == "Completed"
failed = ours.get_async_invoke(invocationArn=second)
assert failed["status"] == "Failed" and failed["endTime"] and failed["failureMessage"], failed
done = ours.list_async_invokes(statusEquals="Completed", submitTimeAfter=job["submitTime"].replace(year=2020))
assert [job["invocationArn"] for job in done["asyncInvokeSummaries"]] == [arn], done
assert refused(ours.list_async_invokes, nextToken="x")[0] == "ValidationException"

# What is no job's model, and what nothing bounds, is refused by name.
code, message = refused(ours.start_async_invoke, **{**start, "modelId": "amazon.nova-lite-v1:0"})
assert code == "ValidationException" and "is of kind \"chat\"" in message, message
unknown = {"modelId": "twelvelabs.marengo-embed-3-0-v1:0", "modelInput": {"inputType": "smell"}}
code, message = refused(ours.start_async_invoke, outputDataConfig=OUTPUT, **unknown)
assert code == "ValidationException" and "modelInput.inputType" in message, message
print(json.dumps([arn, second, third]))
