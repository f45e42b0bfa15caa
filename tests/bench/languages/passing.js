// Sends each record on as it is: what a handler in JavaScript costs that reads nothing.

import { emit } from 'kafka:handler/producer@0.1.0';
import { get } from 'wasi:config/store@0.2.0-rc.1';

let output;

export const messageHandler = {
  onMessage({ key, value, headers, timestamp }) {
    output ??= get('output');
    emit({ topic: output, key, value, headers, timestamp });
  },
};
