"""Lets the host read three fields of an order, looks at them and lets the host send the record on."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import store, types
from wit_world.imports.current import forward
from wit_world.imports.json import Selection

output = None
fields = None


class ViewHandler(exports.ViewHandler):
    def on_view(self, head):
        global output, fields
        if fields is None:
            output = store.get("output")
            fields = Selection.make(["/id", "/name", "/total"])
        number, name, total = fields.read()
        if not name.value or float(total.value) < 0:
            raise Err(types.HandlerError_Reject(f"order {number.value} is strange"))
        forward(output, [])
