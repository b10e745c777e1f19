"""The openai package embeds through the gateway. It asks for base64 unless it is told otherwise; both are the
same numbers.

Usage: embeddings.py GATEWAY_URL
"""

import struct
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)

texts = ["How much is the fish?", "Two fish."]
for model in ["titan-embed", "cohere-embed", "nova-embed"]:
    packed = client.embeddings.create(model=model, input=texts, dimensions=256)
    plain = client.embeddings.create(model=model, input=texts, dimensions=256, encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.index == other.index and len(one.embedding) == 256, packed
        single = [struct.unpack("<f", struct.pack("<f", number))[0] for number in other.embedding]
        assert list(one.embedding) == single, (one.embedding[:3], single[:3])
    assert packed.data[0].embedding != packed.data[1].embedding
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0, packed.usage

raw = client.embeddings.with_raw_response.create(model="cohere.embed-english-v3", input="fish")
assert float(raw.headers["x-kairos-cost-usd"]) > 0, raw.headers
assert raw.parse().model == "cohere.embed-english-v3"
assert any(model.id == "amazon.titan-embed-text-v2:0" for model in client.models.list())

try:
    client.embeddings.create(model="titan-embed", input=[[1, 2, 3]])
    sys.exit("tokens were embedded")
except openai.BadRequestError as error:
    assert error.param == "input" and "tokens" in str(error), error
