"""An app of kafka-python-app, with what the package needs and does not bring."""

import asyncio
import logging

from kafka_python_app.app import AppConfig, KafkaApp

logging.basicConfig(level=logging.WARNING)
LOG = logging.getLogger("app")
# The package writes traces, which are a level of loguru and not of the standard library.
LOG.trace = LOG.debug


def make(bootstrap, topic, group, **options):
    """An app that listens to one topic."""
    return KafkaApp(
        AppConfig(
            bootstrap_servers=[bootstrap],
            listen_topics=[topic],
            consumer_config={"group_id": group},
            logger=LOG,
            **options,
        )
    )


async def start(app):
    """Has the app listen, and says so once it reads its partitions; returns what runs it."""
    running = asyncio.create_task(app.run())
    while not app.listener.consumer.assignment():
        if running.done():
            running.result()
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    return running
