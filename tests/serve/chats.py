"""Chats with a model that recites: reasoning, its stops, tools and calls, start states, text inserted between two others."""

import json
import tempfile
import unittest

import reciter
from server import Server

CHAT = "/v1/chat/completions"
CALL = {"name": "weather", "arguments": {"city": "Paris", "days": 2}}
CHAINS = {
    ":": [" Hello", ", wor", "ld. Good", "bye.", "\n\n"],  # mode off
    "<think": [">", " I think", ".\n\n", "So", " STOP it", "</th", "ink>\n", "It is", " five STOP", " here", "\n\n"],
    "</think": [">\n", '[{"name": "weather", "arguments": ', '{"city": "Paris", "days": 2}},', '{"name":"clock","arguments":{}}]'],
    "```json": ["\n", '{"name": "weather", "argu', 'ments": {"city": "Paris", "days": 2}}', "\n```"],
    "x": ["<html>&\"\u00e9", "\u273f"],  # after a text that ends in x
}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("weather", "clock")]
USER = [{"role": "user", "content": "How are you?"}]
BASE = {"messages": USER, "temperature": 0, "max_tokens": 40}


class Chats(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Server("--parallel", "4", *reciter.make(cls.folder.name, CHAINS))

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        cls.folder.cleanup()
        assert code == 0, code

    def ask(self, **more):
        """The choice of a whole reply, which must equal that of a stream."""
        status, reply = self.server.post(CHAT, {**BASE, **more})
        self.assertEqual(status, 200, reply)
        choice, usage = reply["choices"][0], reply["usage"]
        events = self.server.stream(CHAT, {**BASE, **more, "stream_options": {"include_usage": True}})
        deltas = [event["choices"][0]["delta"] for event in events if event["choices"]]
        message = choice["message"]
        for name in ("content", "reasoning_content"):
            self.assertEqual("".join(delta.get(name) or "" for delta in deltas), message.get(name) or "")
        calls = [{"type": call["type"], "function": call["function"]} for delta in deltas for call in delta.get("tool_calls", ())]
        whole = [{"type": call["type"], "function": call["function"]} for call in message.get("tool_calls", ())]
        self.assertEqual(calls, whole)
        self.assertEqual(events[-2]["choices"][0]["finish_reason"], choice["finish_reason"])
        self.assertEqual(events[-1]["usage"]["completion_tokens"], usage["completion_tokens"])
        self.assertEqual(events[-1]["usage"]["completion_tokens_details"], usage["completion_tokens_details"])
        return choice, usage

    def test_an_answer_ends_at_a_blank_line(self):
        choice, usage = self.ask()
        self.assertEqual(choice["message"], {"role": "assistant", "content": "Hello, world. Goodbye.", "refusal": None})
        self.assertEqual((choice["finish_reason"], usage["completion_tokens"]), ("stop", 4))

    def test_a_conversation_goes_on_from_its_state(self):
        _, usage = self.ask()
        messages = [*USER, {"role": "assistant", "content": "Hello, world. Goodbye."}, {"role": "user", "content": "And?"}]
        _, reply = self.server.post(CHAT, {**BASE, "messages": messages})
        cached = reply["usage"]["prompt_tokens_details"]["cached_tokens"]
        self.assertEqual(cached, usage["prompt_tokens"] + usage["completion_tokens"] + 1)  # the blank line

    def test_reasoning_has_blank_lines_and_ends(self):
        for most in range(1, 12):  # wherever steps are cut
            choice, usage = self.ask(reasoning_effort="medium", max_tokens=most)
            message = choice["message"]
            reasoning, text = message.get("reasoning_content", ""), message["content"]
            self.assertTrue("I think.\n\nSo STOP it</th".startswith(reasoning), reasoning)
            self.assertTrue("It is five STOP here".startswith(text), text)
            self.assertEqual(usage["completion_tokens"], min(most, 10))
            self.assertEqual(choice["finish_reason"], "length" if most <= 9 else choice["finish_reason"])
        self.assertEqual((reasoning, text, choice["finish_reason"]), ("I think.\n\nSo STOP it", "It is five STOP here", "stop"))
        self.assertEqual(usage["completion_tokens_details"]["reasoning_tokens"], 7)

    def test_stops_are_not_for_reasoning(self):
        for _ in range(5):  # wherever steps are cut
            _, reply = self.server.post(CHAT, {**BASE, "enable_thinking": True, "stop": "STOP"})
            choice = reply["choices"][0]
            self.assertEqual(choice["message"]["reasoning_content"], "I think.\n\nSo STOP it")
            self.assertEqual((choice["message"]["content"], choice["finish_reason"]), ("It is five", "stop"))
        choice, _ = self.ask(stop="world")
        self.assertEqual((choice["message"]["content"], choice["finish_reason"]), ("Hello,", "stop"))

    def test_log_probabilities_are_those_of_the_text(self):
        choice, _ = self.ask(enable_thinking=True, logprobs=True, top_logprobs=1)
        tokens = [entry["token"] for entry in choice["logprobs"]["content"]]
        self.assertEqual(tokens, ["It is", " five STOP", " here"])

    def test_the_model_may_call(self):
        choice, _ = self.ask(reasoning_effort="none", tools=TOOLS)
        calls = choice["message"]["tool_calls"]
        self.assertEqual((choice["finish_reason"], choice["message"]["content"]), ("tool_calls", None))
        self.assertEqual([call["function"]["name"] for call in calls], ["weather", "clock"])
        self.assertEqual(json.loads(calls[0]["function"]["arguments"]), CALL["arguments"])
        self.assertTrue(all(call["id"].startswith("call_") for call in calls) and calls[0]["id"] != calls[1]["id"])
        choice, _ = self.ask(reasoning_effort="none", tools=TOOLS, parallel_tool_calls=False)
        self.assertEqual(len(choice["message"]["tool_calls"]), 1)

    def test_only_calls_of_tools_are_calls(self):
        for more in ({}, {"tools": TOOLS, "tool_choice": "none"}, {"tools": TOOLS[:1]}):
            choice, _ = self.ask(reasoning_effort="none", **more)
            self.assertNotIn("tool_calls", choice["message"])
            self.assertEqual(json.loads(choice["message"]["content"])[0], CALL)
            self.assertEqual(choice["finish_reason"], "stop")

    def test_a_call_may_have_to_be(self):
        for tool_choice in ("required", {"type": "function", "function": {"name": "weather"}}):
            choice, _ = self.ask(tools=TOOLS, tool_choice=tool_choice)
            call = choice["message"]["tool_calls"][0]["function"]
            self.assertEqual((call["name"], json.loads(call["arguments"])), ("weather", CALL["arguments"]))
        status, reply = self.server.post(CHAT, {**BASE, "tools": TOOLS,
                                                "tool_choice": {"type": "function", "function": {"name": "other"}}})
        self.assertEqual((status, reply["error"]["param"]), (400, "tool_choice"))

    def test_what_a_tool_returned_goes_on(self):
        choice, _ = self.ask(tools=TOOLS, tool_choice="required")
        messages = [*USER, choice["message"], {"role": "tool", "tool_call_id": choice["message"]["tool_calls"][0]["id"],
                                               "content": '{"sky": "clear"}'}]
        choice, _ = self.ask(messages=messages, tools=TOOLS)
        self.assertEqual(choice["message"]["content"], "Hello, world. Goodbye.")

    def test_characters_are_whole_and_text_is_text(self):
        _, reply = self.server.post("/v1/completions", {"prompt": "x", "temperature": 0, "max_tokens": 9})
        self.assertEqual(reply["choices"][0]["text"], '<html>&"\u00e9\u273f')

    def test_text_between_two_others(self):
        _, reply = self.server.post("/v1/completions", {"prompt": "bef x", "suffix": "aft", "temperature": 0, "max_tokens": 9})
        self.assertEqual((reply["choices"][0]["text"], reply["choices"][0]["finish_reason"]), ('<html>&"\u00e9', "stop"))
        marks = "\u273fprefix\u273f\u273fsuffix\u273faft\u273fmiddle\u273fbef x"
        _, tokens = self.server.post("/tokenize", {"content": marks})
        self.assertEqual(reply["usage"]["prompt_tokens"], len(tokens["tokens"]))


if __name__ == "__main__":
    unittest.main(verbosity=1)
