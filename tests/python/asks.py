"""Asks through Kafka with kafka-python-app's emit_with_response, and prints what comes back.

Several askers make their requests at the same time, each one after the other. The word NUMBER in the value becomes the
request's number. Each response is a line of JSON: number, response, error, and took_us, in microseconds.
"""

import argparse
import asyncio
import json
import time

import app as apps
from kafka_python_app.app import EmitWithResponseOptions
from kafka_python_app.connector import ProducerRecord


class Cache(dict):
    """What the package wants of Redis."""

    def set(self, name, value, ex):
        self[name] = value


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ["bootstrap", "requests", "responses", "event", "value"]:
        parser.add_argument(name)
    parser.add_argument("--askers", type=int, default=1)
    parser.add_argument("--each", type=int, default=1)
    parser.add_argument("--reply-to", action="store_true", help="say where responses go, in a header")
    return parser.parse_args()


async def main(args):
    responses = EmitWithResponseOptions(
        topic_event_list=[(args.responses, args.event)],
        cache_client=Cache(),
        return_event_timeout=300,
    )
    app = apps.make(
        args.bootstrap,
        args.responses,
        f"{args.responses}.asks",
        emit_with_response_options=responses,
    )
    # A task that nobody holds may be collected.
    running = await apps.start(app)

    async def ask(number):
        value = json.loads(args.value.replace("NUMBER", str(number)))
        headers = [("reply-to", args.responses.encode())] if args.reply_to else None
        begun = time.perf_counter_ns()
        response, error = await app.emit_with_response(
            args.requests, ProducerRecord(value=value, headers=headers)
        )
        took_us = (time.perf_counter_ns() - begun) // 1000
        return {"number": number, "response": response, "error": error, "took_us": took_us}

    async def asker(nth):
        return [await ask(nth * args.each + turn) for turn in range(args.each)]

    for answers in await asyncio.gather(*map(asker, range(args.askers))):
        for answer in answers:
            print(json.dumps(answer), flush=True)
    running.cancel()
    # A member that only goes away holds up those that come after it.
    app.listener.consumer.close()


asyncio.run(main(arguments()))
