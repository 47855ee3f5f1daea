// Asks Open WebUI by the SDKs for JavaScript, as somebody who is refused: what does each of them raise?
// Arguments: the server's address, a key, and which of what follows to ask. Prints one line of JSON.

import Anthropic from '@anthropic-ai/sdk';
import { Ollama } from 'ollama';
import OpenAI from 'openai';

const [address, key, ...names] = process.argv.slice(2);
const messages = [{ role: 'user', content: 'hello' }];
const openai = new OpenAI({ baseURL: `${address}/api/v1`, apiKey: key });
const anthropic = new Anthropic({ baseURL: `${address}/api`, apiKey: key });
const ollama = new Ollama({ host: `${address}/ollama`, headers: { Authorization: `Bearer ${key}` } });

const asked = {
  openai: () => openai.chat.completions.create({ model: 'gpt-std', messages }),
  'openai, streamed': () => openai.chat.completions.create({ model: 'gpt-std', messages, stream: true }),
  'openai, embeddings': () => openai.embeddings.create({ model: 'embed-std', input: 'hello' }),
  anthropic: () => anthropic.messages.create({ model: 'gpt-std', messages, max_tokens: 9 }),
  'anthropic, streamed': () => anthropic.messages.create({ model: 'gpt-std', messages, max_tokens: 9, stream: true }),
  ollama: () => ollama.chat({ model: 'llama-std', messages }),
  'ollama, streamed': () => ollama.chat({ model: 'llama-std', messages, stream: true }),
};
const raised = {};
for (const name of names) {
  try {
    await asked[name]();
  } catch (error) {
    raised[name] = { error: error.constructor.name, status: error.status ?? error.status_code, text: error.message };
  }
}
console.log(JSON.stringify(raised));
