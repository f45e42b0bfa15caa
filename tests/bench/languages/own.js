// Reads three fields of an order by JavaScript's own parser, looks at them and sends the record on.

import { emit } from 'kafka:handler/producer@0.1.0';
import { get } from 'wasi:config/store@0.2.0-rc.1';

// SpiderMonkey has a decoder of its own, QuickJS has none.
const decoder = globalThis.TextDecoder ? new TextDecoder() : undefined;
let output;

function text(bytes) {
  if (decoder) {
    return decoder.decode(bytes);
  }
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + 4096));
  }
  // Most values are ASCII, and looking is cheaper than decoding.
  return /[\x80-\xff]/.test(text) ? decodeURIComponent(escape(text)) : text;
}

export const messageHandler = {
  onMessage(message) {
    output ??= get('output');
    const { id, name, total } = JSON.parse(text(message.value));
    if (!name || total < 0) {
      throw { tag: 'reject', val: `order ${id} is strange` };
    }
    const { key, value, headers, timestamp } = message;
    emit({ topic: output, key, value, headers, timestamp });
  },
};
