"""Reads three fields of an order by Python's own parser, looks at them and sends the record on."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import store, types
from wit_world.imports.producer import Outgoing, emit

output = None


class MessageHandler(exports.MessageHandler):
    def on_message(self, message):
        global output
        if output is None:
            output = store.get("output")
        order = json.loads(message.value)
        number, name, total = order["id"], order["name"], order["total"]
        if not name or total < 0:
            raise Err(types.HandlerError_Reject(f"order {number} is strange"))
        emit(Outgoing(output, message.key, message.value, message.headers, None, message.timestamp))
