// The unmodified `openai` package of npm against a running server:
//
//     npm install openai && node openai_node.mjs http://127.0.0.1:8080/v1
//
// Each line is one thing that works; the first that does not ends it with an exception.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.cwd() + "/"); // where npm installed it
const { default: OpenAI } = await import(pathToFileURL(require.resolve("openai")));
const client = new OpenAI({ baseURL: process.argv[2], apiKey: process.argv[3] ?? "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Once upon a time" }];
const passed = (what, detail) => console.log(`ok ${what}${detail === undefined ? "" : ": " + JSON.stringify(detail)}`);

const model = (await client.models.list()).data[0].id;
assert.equal((await client.models.retrieve(model)).id, model);
passed("models", model);

const completion = await client.completions.create({ model, prompt: "Once upon a time", max_tokens: 12, seed: 1 });
let text = "";
for await (const chunk of await client.completions.create({ model, prompt: "Once upon a time", max_tokens: 12, seed: 1, stream: true }))
	text += chunk.choices[0].text;
assert.equal(text, completion.choices[0].text);
passed("completions", text);

const chat = await client.chat.completions.create({ model, messages, max_tokens: 12, seed: 1 });
let streamed = "", usage;
for await (const chunk of await client.chat.completions.create({
	model, messages, max_tokens: 12, seed: 1, stream: true, stream_options: { include_usage: true } })) {
	streamed += chunk.choices[0]?.delta.content ?? "";
	usage = chunk.usage ?? usage;
}
assert.equal(streamed, chat.choices[0].message.content);
assert.equal(usage.completion_tokens, 12);
passed("chats", streamed);

const final = await client.chat.completions.stream({ model, messages, max_tokens: 12, seed: 1 }).finalContent();
assert.equal(final, streamed);
passed("the package's own streams");

const tools = [{ type: "function", function: { name: "weather", parameters: {
	type: "object", properties: { city: { type: "string" } }, required: ["city"] } } }];
try {
	const reply = await client.chat.completions.create({
		model, messages: [{ role: "user", content: "How is the weather in Paris?" }], tools, tool_choice: "required", max_tokens: 60,
		temperature: 0 });
	passed("tools", reply.choices[0].message.tool_calls ?? reply.choices[0].message.content);
} catch (error) {
	assert.equal(error.param, "tools");
	passed("tools are refused by name", error.message);
}

await assert.rejects(client.chat.completions.create({ model: "other", messages }), OpenAI.NotFoundError);
await assert.rejects(client.chat.completions.create({ model, messages, temperature: -1 }),
	(error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
passed("errors");

const controller = new AbortController();
const stream = await client.chat.completions.create({ model, messages, max_tokens: 200, stream: true }, { signal: controller.signal });
for await (const chunk of stream)
	if (chunk.choices[0].delta.content) {
		controller.abort();
		break;
	}
passed("a stream that is given up");
