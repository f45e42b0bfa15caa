"""Lets the host send each record on: what a handler in Python costs with which no record stays and that reads nothing."""

from wit_world import exports
from wit_world.imports import store
from wit_world.imports.current import forward

output = None


class ViewHandler(exports.ViewHandler):
    def on_view(self, head):
        global output
        if output is None:
            output = store.get("output")
        forward(output, [])
