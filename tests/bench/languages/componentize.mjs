// Makes a component of a handler in JavaScript: its file, the folder of the WIT, the world, and where the component goes.
// It has SpiderMonkey in it, and nothing of WASI's but the settings.

import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';

const [sourcePath, witPath, worldName, to] = process.argv.slice(2);
const disableFeatures = ['random', 'clocks', 'http', 'stdio', 'fetch-event'];
const { component } = await componentize({ sourcePath, witPath, worldName, disableFeatures });
await writeFile(to, component);
