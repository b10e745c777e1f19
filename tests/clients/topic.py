"""A topic of SNS's with a queue that is subscribed to it, at moto's; and what comes of it.

Usage: topic.py MOTO_URL make           prints the ARN of the topic and the URL of the queue
       topic.py MOTO_URL read QUEUE N   reads N messages, then whatever is there beside them; prints them as JSON
"""

import json
import sys

import boto3

URL, WHAT, *MORE = sys.argv[1:]
KEYS = {"region_name": "eu-west-1", "endpoint_url": URL, "aws_access_key_id": "any", "aws_secret_access_key": "any"}
SQS = boto3.client("sqs", **KEYS)


def make():
    sns = boto3.client("sns", **KEYS)
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    queue = SQS.create_queue(QueueName="alerts")["QueueUrl"]
    arn = SQS.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    print(topic)
    print(queue)


def take(queue, seconds):
    found = SQS.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=seconds)
    for message in found.get("Messages", []):
        SQS.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        yield json.loads(message["Body"])


# Each looks for five seconds.
LOOKS = 24


def read(queue, wanted):
    messages = []
    for _ in range(LOOKS):
        if len(messages) >= wanted:
            break
        messages.extend(take(queue, 5))
    else:
        sys.exit(f"{len(messages)} messages of {wanted} after {LOOKS} looks: {json.dumps(messages)}")
    messages.extend(take(queue, 0))
    print(json.dumps(messages))


if WHAT == "make":
    make()
else:
    read(MORE[0], int(MORE[1]))
