"""Answers requests with kafka-python-app, until it is killed.

`price` is answered by a handler, where the request says; `quote` by a pipeline, whose result goes to the topic that is
given.
"""

import asyncio
import json
import sys

import app as apps
from kafka_python_app.app import MessagePipeline, MessageTransaction, TransactionPipeResultOptions
from kafka_python_app.connector import ProducerRecord


def serialize(value):
    # What a pipeline hands over is JSON already, and the package's own serializer would encode it once more.
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def price(message):
    return message | {"price": 2 * message["count"]}


async def main(bootstrap, requests, quotes):
    quote = MessageTransaction(
        fnc=lambda message, logger, **_: price(message),
        pipe_result_options=TransactionPipeResultOptions(
            pipe_event_name="quoted", pipe_to_topic=quotes
        ),
    )
    app = apps.make(
        bootstrap,
        requests,
        f"{requests}.answers",
        producer_config={"value_serializer": serialize},
        pipelines_map={"quote": MessagePipeline(transactions=[quote], logger=apps.LOG)},
    )

    @app.on("price")
    async def on_price(message, headers, **_):
        headers = dict(headers)
        answer = ProducerRecord(
            value=price(message) | {"event": "priced"},
            headers=[("event_id", headers["event_id"])],
        )
        app.emit(headers["reply-to"].decode(), answer)

    await (await apps.start(app))


asyncio.run(main(*sys.argv[1:]))
