"""Makes trading.json and market_data.json of the package that ships Alpaca's OpenAPI files.

Usage: extract.py alpaca_mcp_server-2.4.0-py3-none-any.whl
"""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
FILES = {"trading-api.json": "trading.json", "market-data-api.json": "market_data.json"}
WANTED = (
    "/v2/account", "/v2/account/activities", "/v2/account/activities/{activity_type}",
    "/v2/account/configurations", "/v2/account/portfolio/history", "/v2/assets",
    "/v2/assets/{symbol_or_asset_id}", "/v2/clock", "/v2/orders", "/v2/orders/{order_id}",
    "/v2/orders:by_client_order_id", "/v2/positions", "/v2/positions/{symbol_or_asset_id}",
)  # fmt: skip
METHODS = ("get", "post", "patch", "delete")
TEXTS = {"description", "example", "examples", "title", "summary", "deprecated"}


def is_wanted(path):
    return path in WANTED or path.startswith("/v1beta3/crypto/")


def without_texts(value, *, is_named=False):
    """A schema without its prose; under `properties` and the like a name is no keyword."""
    if isinstance(value, list):
        return [without_texts(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without_texts(one, is_named=not is_named and key in ("properties", "schemas"))
        for key, one in value.items()
        if is_named or (key not in TEXTS and not key.startswith("x-"))
    }


def resolved(document, value):
    while "$ref" in value:
        found = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/")]
        value = found
    return value


def operation_of(document, item, operation):
    """The parameters, the body and the answers, references to schemas left as they are."""
    parameters = [
        resolved(document, one)
        for one in [*item.get("parameters", []), *operation.get("parameters", [])]
    ]
    kept = {
        "parameters": [
            {key: one[key] for key in ("name", "in", "required", "schema") if key in one}
            for one in parameters
        ],
        "responses": {
            status: {"content": resolved(document, answer).get("content", {})}
            for status, answer in operation["responses"].items()
        },
    }
    if "requestBody" in operation:
        kept["requestBody"] = {"content": resolved(document, operation["requestBody"])["content"]}
    return kept


def references(value):
    if isinstance(value, list):
        return set().union(*map(references, value))
    if isinstance(value, dict):
        own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set()


def extract(document, source):
    paths = {
        path: {
            method: operation_of(document, item, item[method])
            for method in METHODS
            if method in item
        }
        for path, item in document["paths"].items()
        if is_wanted(path)
    }
    paths = without_texts(paths)
    every, schemas, waiting = document["components"]["schemas"], {}, references(paths)
    while waiting:
        name = waiting.pop()
        schemas[name] = without_texts(every[name])
        waiting |= references(schemas[name]) - schemas.keys()
    info = {key: document["info"][key] for key in ("title", "version", "license", "termsOfService")
            if key in document["info"]}  # fmt: skip
    return {
        "openapi": document["openapi"],
        "info": {**info, "x-extract": source},
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def main(wheel):
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    source = (
        f"Extract of {wheel.name} (sha256 {digest}), MIT licence, copyright Alpaca: crypto only,"
        " texts and examples left out."
    )
    with zipfile.ZipFile(wheel) as archive:
        for name, target in FILES.items():
            document = json.loads(archive.read(f"alpaca_mcp_server/specs/{name}"))
            text = json.dumps(extract(document, source), indent=1, ensure_ascii=False)
            (HERE / target).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
