"""Prices what the ledger says was consumed once more, in decimals, by the price list alone.

Usage: price_again.py EXPORT.csv CATALOGUE.toml

Prints how many settled rows it priced and what they come to. Exit code 1 where one of them differs from what
was charged, in any digit.
"""

import csv
import json
import sys
import tomllib
from decimal import Decimal, getcontext

getcontext().prec = 60
EXPORT, CATALOGUE = sys.argv[1:]
MILLION = Decimal(1_000_000)
LEGS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_5m_tokens": "cache_write_5m",
    "cache_write_1h_tokens": "cache_write_1h",
}
ROUTES = ["global", "us-gov", "us", "eu", "apac", "jp", "au", "in"]

with open(CATALOGUE, "rb") as file:
    MODELS = {model["id"]: model["prices"] for model in tomllib.load(file)["model"]}


def rates(row, tokens):
    """The rates of a row: those of its route, region and tier, in the band of so much input."""
    route = next((name for name in ROUTES if row["target"].startswith(name + ".")), "in-region")
    found = [price for price in MODELS[row["model"]] if price["at"] == route and price.get("tier", "standard") == row["tier"]]
    own = [price for price in found if price.get("region") == row["region"]]
    found = own or [price for price in found if "region" not in price]
    return max((price for price in found if tokens > price.get("over", -1)), key=lambda price: price.get("over", -1))


priced, total, wrong = 0, Decimal(0), 0
with open(EXPORT, newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file):
        if row["state"] != "settled":
            continue
        assert int(row["cache_write_unknown_tokens"]) == 0 and not row["guardrail_units"], row
        count = {leg: int(row[leg]) for leg in LEGS}
        price = rates(row, sum(count.values()) - count["output_tokens"])
        cost = sum(Decimal(count[leg]) * Decimal(price[name]) / MILLION for leg, name in LEGS.items() if count[leg])
        for unit, pieces in json.loads(row["units"] or "{}").items():
            cost += Decimal(pieces) * Decimal(price[unit])
        priced += 1
        total += cost
        if cost != Decimal(row["charged_usd"]):
            wrong += 1
            print(f"{row['request']}-{row['attempt']}: {cost} by the price list, {row['charged_usd']} charged: {row}")

print(f"{priced} rows, {total.normalize():f} USD")
sys.exit(1 if wrong or not priced else 0)
