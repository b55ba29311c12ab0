"""Every endpoint of `rwkvk serve` over real sockets, with the built-in model: what is served, and what is refused by name."""

import json
import os
import re
import subprocess
import tempfile
import unittest

from server import PROGRAM, Server, wait_for

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
STORY = {"prompt": "Once upon a time", "max_tokens": 16, "seed": 7}
TALK = {"messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": 16, "seed": 7}


class Endpoints(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        state = os.path.join(cls.folder.name, "calm.state")
        subprocess.run([PROGRAM, "generate", "-q", "-n", "0", "--save-state", state, "Once upon a time there was a cat. The cat"],
                       check=True, capture_output=True)
        cls.server = Server("--parallel", "4", "--max-tokens", "200", "--max-prompt", "3000", "--state", "calm=" + state)

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        cls.folder.cleanup()
        assert code == 0, code

    def refused(self, path, body, param, text, status=400):
        """The error object that names the field."""
        got, reply = self.server.post(path, body)
        self.assertEqual(got, status, reply)
        error = reply["error"]
        self.assertEqual(error["param"], param)
        self.assertIn(text, error["message"])
        self.assertEqual(set(error), {"message", "type", "param", "code"})

    def test_health(self):
        self.assertEqual(self.server.get("/health"), (200, b'{"status":"ok"}'))

    def test_page(self):
        status, headers, data = self.server.request("GET", "/")
        self.assertEqual(status, 200)
        self.assertTrue(data.startswith(b"<!doctype html>") or data.startswith(b"<!DOCTYPE html>"))
        self.assertEqual(headers["Content-Type"], "text/html; charset=utf-8")
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])

    def test_models(self):
        status, data = self.server.get("/v1/models")
        models = json.loads(data)
        self.assertEqual((status, models["object"], len(models["data"])), (200, "list", 1))
        model = models["data"][0]
        self.assertEqual((model["id"], model["object"], model["states"]), ("rwkvk-story", "model", ["calm"]))
        self.assertEqual((model["template"], model["think"], model["max_tokens"]), ("plain", ["off"], 200))
        status, data = self.server.get("/v1/models/rwkvk-story")
        self.assertEqual((status, json.loads(data)), (200, model))
        status, data = self.server.get("/v1/models/other")
        self.assertEqual((status, json.loads(data)["error"]["code"]), (404, "model_not_found"))

    def test_completion(self):
        status, first = self.server.post(COMPLETIONS, STORY)
        self.assertEqual((status, first["object"], first["model"], first["seed"]), (200, "text_completion", "rwkvk-story", 7))
        choice = first["choices"][0]
        self.assertEqual((choice["finish_reason"], choice["logprobs"], choice["index"]), ("length", None, 0))
        self.assertEqual(first["usage"]["completion_tokens"], 16)
        self.assertEqual(first["usage"]["prompt_tokens"] + 16, first["usage"]["total_tokens"])
        _, again = self.server.post(COMPLETIONS, STORY)
        self.assertEqual(again["choices"], first["choices"])
        self.assertEqual(again["usage"]["prompt_tokens_details"]["cached_tokens"], first["usage"]["prompt_tokens"])
        self.assertNotEqual(again["id"], first["id"])

    def test_chat(self):
        status, reply = self.server.post(CHAT, TALK)
        self.assertEqual((status, reply["object"]), (200, "chat.completion"))
        message = reply["choices"][0]["message"]
        self.assertEqual((message["role"], message["refusal"]), ("assistant", None))
        _, completion = self.server.post(COMPLETIONS, STORY)
        self.assertEqual(message["content"], completion["choices"][0]["text"])

    def test_chat_goes_on_from_the_answer(self):
        _, first = self.server.post(CHAT, TALK)
        answer = first["choices"][0]["message"]
        _, second = self.server.post(CHAT, {**TALK, "messages": [*TALK["messages"], answer, {"role": "user", "content": " He"}]})
        read = first["usage"]["total_tokens"]
        self.assertEqual(second["usage"]["prompt_tokens_details"]["cached_tokens"], read)

    def test_streams_are_the_same_text(self):
        _, whole = self.server.post(COMPLETIONS, STORY)
        events = self.server.stream(COMPLETIONS, STORY)
        self.assertEqual("".join(event["choices"][0]["text"] for event in events), whole["choices"][0]["text"])
        self.assertEqual((events[-1]["choices"][0]["finish_reason"], events[-1]["seed"]), ("length", 7))
        events = self.server.stream(CHAT, {**TALK, "stream_options": {"include_usage": True}})
        self.assertEqual(events[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        text = "".join(choice["delta"].get("content", "") for event in events for choice in event["choices"])
        self.assertEqual(text, whole["choices"][0]["text"])
        self.assertEqual((events[-1]["choices"], events[-1]["usage"]["completion_tokens"]), ([], 16))
        self.assertTrue(all(event["object"] == "chat.completion.chunk" for event in events))

    def test_several_choices_have_seeds_of_their_own(self):
        _, three = self.server.post(COMPLETIONS, {**STORY, "n": 3})
        for index, choice in enumerate(three["choices"]):
            _, one = self.server.post(COMPLETIONS, {**STORY, "seed": 7 + index})
            self.assertEqual((choice["index"], choice["text"]), (index, one["choices"][0]["text"]))
        self.assertEqual(three["usage"]["completion_tokens"], 48)
        events = self.server.stream(COMPLETIONS, {**STORY, "n": 3})
        for choice in three["choices"]:
            parts = [part["text"] for event in events for part in event["choices"] if part["index"] == choice["index"]]
            self.assertEqual("".join(parts), choice["text"])

    def test_a_drawn_seed_gives_the_same_text(self):
        body = {"prompt": "The", "max_tokens": 12, "temperature": 2, "top_p": 1}
        _, first = self.server.post(COMPLETIONS, body)
        _, again = self.server.post(COMPLETIONS, {**body, "seed": first["seed"]})
        self.assertEqual(again["choices"], first["choices"])

    def test_stops(self):
        _, whole = self.server.post(COMPLETIONS, {**STORY, "max_tokens": 60})
        text = whole["choices"][0]["text"]
        _, cut = self.server.post(COMPLETIONS, {**STORY, "max_tokens": 60, "stop": ["@@", ". "]})
        self.assertIn(". ", text)
        self.assertEqual((cut["choices"][0]["text"], cut["choices"][0]["finish_reason"]), (text[:text.index(". ")], "stop"))
        events = self.server.stream(CHAT, {**TALK, "max_tokens": 60, "stop": ". "})
        self.assertEqual("".join(event["choices"][0]["delta"].get("content", "") for event in events), text[:text.index(". ")])

    def test_sampling(self):
        greedy = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
        texts = [self.server.post(COMPLETIONS, {**greedy, **more})[1]["choices"][0]["text"]
                 for more in ({}, {"seed": 1}, {"top_k": 1, "temperature": 1}, {"top_p": 0, "temperature": 1})]
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(texts[2], texts[3])
        _, tokens = self.server.post("/tokenize", {"content": texts[0]})
        banned = {str(tokens["tokens"][0]): -100}
        _, other = self.server.post(COMPLETIONS, {**greedy, "logit_bias": banned})
        self.assertNotEqual(other["choices"][0]["text"], texts[0])
        _, penal = self.server.post(COMPLETIONS, {**greedy, "max_tokens": 60, "presence_penalty": 100, "frequency_penalty": 1,
                                                  "penalty_decay": 0.9})
        _, tokens = self.server.post("/tokenize", {"content": penal["choices"][0]["text"]})
        self.assertGreater(len(set(tokens["tokens"])), 40)

    def test_a_start_state_is_what_was_before(self):
        ask = {"prompt": " was", "max_tokens": 12, "temperature": 0}
        _, whole = self.server.post(COMPLETIONS, {**ask, "prompt": "Once upon a time there was a cat. The cat was"})
        _, started = self.server.post(COMPLETIONS, {**ask, "state": "calm"})
        _, empty = self.server.post(COMPLETIONS, ask)
        self.assertEqual(started["choices"][0]["text"], whole["choices"][0]["text"])
        self.assertNotEqual(started["choices"][0]["text"], empty["choices"][0]["text"])
        self.assertLess(started["usage"]["prompt_tokens"], 3)

    def test_logprobs_of_completions(self):
        _, reply = self.server.post(COMPLETIONS, {**STORY, "logprobs": 3, "temperature": 0})
        text, logprobs = reply["choices"][0]["text"], reply["choices"][0]["logprobs"]
        self.assertEqual("".join(logprobs["tokens"]), text)
        self.assertEqual([len(logprobs[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")], [16] * 4)
        for token, value, tops, offset in zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"],
                                              logprobs["text_offset"]):
            self.assertEqual(len(tops), 3)
            self.assertEqual((max(tops, key=tops.get), tops[token]), (token, value))
            self.assertLessEqual(value, 0)
            self.assertTrue(text[offset:].startswith(token))

    def test_logprobs_of_chats(self):
        _, reply = self.server.post(CHAT, {**TALK, "logprobs": True, "top_logprobs": 2})
        content = reply["choices"][0]["logprobs"]["content"]
        self.assertEqual("".join(entry["token"] for entry in content), reply["choices"][0]["message"]["content"])
        self.assertTrue(all(bytes(entry["bytes"]).decode() == entry["token"] for entry in content))
        self.assertTrue(all(len(entry["top_logprobs"]) == 2 for entry in content))
        events = self.server.stream(CHAT, {**TALK, "logprobs": True, "top_logprobs": 2})
        streamed = [entry for event in events if event["choices"][0]["logprobs"]
                    for entry in event["choices"][0]["logprobs"]["content"]]
        self.assertEqual(streamed, content)

    def test_progress_of_a_long_prompt(self):
        words = " ".join(f"word{i}" for i in range(400))
        events = self.server.stream(COMPLETIONS, {"prompt": words, "max_tokens": 1, "return_progress": True})
        progress = [event["prompt_progress"] for event in events if "prompt_progress" in event]
        self.assertTrue(progress)
        self.assertTrue(all(0 < p["processed"] <= p["total"] for p in progress))
        events = self.server.stream(COMPLETIONS, {"prompt": words + " x", "max_tokens": 1})
        self.assertFalse([event for event in events if "prompt_progress" in event])

    def test_tokenize(self):
        status, reply = self.server.post("/tokenize", {"content": "Once upon a time"})
        self.assertEqual(status, 200)
        self.assertEqual(self.server.post("/detokenize", reply), (200, {"content": "Once upon a time"}))
        _, pieces = self.server.post("/tokenize", {"content": "Once upon a time", "with_pieces": True})
        self.assertEqual([piece["id"] for piece in pieces["tokens"]], reply["tokens"])
        self.assertEqual("".join(piece["piece"] for piece in pieces["tokens"]), "Once upon a time")
        self.refused("/detokenize", {"tokens": [10 ** 9]}, "tokens", "expected ids below")

    def test_metrics(self):
        before = self.server.metrics()
        self.server.post(COMPLETIONS, {**STORY, "prompt": "Quite another beginning"})
        wait_for(lambda: self.server.metrics()["rwkvk_requests_running"] == 0)  # the state of the answer is kept
        after = self.server.metrics()
        self.assertEqual(after["rwkvk_tokens_generated_total"] - before["rwkvk_tokens_generated_total"], 16)
        self.assertGreater(after["rwkvk_prompt_tokens_total"], before["rwkvk_prompt_tokens_total"])
        self.assertGreater(after["rwkvk_steps_total"], before["rwkvk_steps_total"])
        self.assertEqual(after["rwkvk_token_seconds_count"], after["rwkvk_tokens_generated_total"])
        self.assertEqual(after['rwkvk_batch_size_bucket{le="+Inf"}'], after["rwkvk_steps_total"])
        self.assertGreater(after['rwkvk_requests_total{status="200"}'], before['rwkvk_requests_total{status="200"}'])
        self.assertGreater(after['rwkvk_cache_bytes{place="memory"}'], 0)
        self.assertEqual((after["rwkvk_requests_running"], after["rwkvk_sessions"]), (0, 4))

    def test_wrong_types_are_named(self):
        for field, value, text in (("n", 0, "from 1 to 4"), ("n", 5, "from 1 to 4"), ("n", "1", 'got "1"'),
                                   ("max_tokens", 201, "from 1 to 200"), ("max_tokens", 1.5, "got 1.5"),
                                   ("temperature", -1, "from 0 to 100"), ("temperature", "hot", 'got "hot"'),
                                   ("top_p", 2, "from 0 to 1"), ("top_k", -1, "from 0"), ("seed", 1.5, "whole number"),
                                   ("presence_penalty", 101, "-100"), ("frequency_penalty", [], "got []"),
                                   ("penalty_decay", 1.1, "from 0 to 1"), ("stream", 1, "true or false"),
                                   ("return_progress", "yes", "true or false"), ("stop", "", "not empty"),
                                   ("stop", ["x"] * 17, "at most 16"), ("stop", [1], "got [1]"), ("logit_bias", [], "object"),
                                   ("logit_bias", {"x": 1}, "token ids"), ("logit_bias", {"999999": 1}, "ids below"),
                                   ("logit_bias", {str(i): 1 for i in range(1025)}, "at most 1024"),
                                   ("logprobs", 21, "from 0 to 20"), ("state", "none", "none of the name"),
                                   ("prompt", 5, "one text"), ("prompt", ["a", "b"], "one text"),
                                   ("stream_options", 3, "an object"), ("suffix", "end", "no suffix")):
            with self.subTest(field=field, value=value):
                self.refused(COMPLETIONS, {**STORY, field: value}, field, text)
        self.refused(COMPLETIONS, {**STORY, "logit_bias": {"5": 101}}, "logit_bias.5", "from -100 to 100")
        self.refused(COMPLETIONS, {**STORY, "model": "gpt"}, "model", "no \"gpt\" here", 404)

    def test_wrong_chats_are_named(self):
        user = {"role": "user", "content": "x"}
        tool = {"type": "function", "function": {"name": "f"}}
        for body, param, text in (({}, "messages", "at least one"), ({"messages": []}, "messages", "at least one"),
                                  ({"messages": [3]}, "messages[0]", "an object"),
                                  ({"messages": [user, {"role": "cat"}]}, "messages[1].role", '"user"'),
                                  ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "a string"),
                                  ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
                                   "messages[0].content[0]", "image_url"),
                                  ({"messages": [user], "top_logprobs": 2}, "top_logprobs", "needs logprobs"),
                                  ({"messages": [user], "enable_thinking": True}, "enable_thinking", "no think mode"),
                                  ({"messages": [user], "reasoning_effort": "high"}, "reasoning_effort", "no think mode"),
                                  ({"messages": [user], "reasoning_effort": "odd"}, "reasoning_effort", '"medium"'),
                                  ({"messages": [user], "tools": [tool]}, "tools", "no tools"),
                                  ({"messages": [user], "tools": [{}]}, "tools[0]", "function"),
                                  ({"messages": [user], "tool_choice": "required"}, "tool_choice", "no tools"),
                                  ({"messages": [user], "tools": [tool], "tool_choice": "maybe"}, "tool_choice", "auto")):
            with self.subTest(body=body):
                self.refused(CHAT, body, param, text)
        status, reply = self.server.post(CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Once "},
                                                                                         {"type": "text", "text": "upon"}]}],
                                                "max_tokens": 1, "tools": [], "tool_choice": "none"})
        self.assertEqual(status, 200, reply)

    def test_what_is_not_there_is_refused_by_name(self):
        for field, value in (("response_format", {"type": "json_object"}),
                             ("response_format", {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}),
                             ("grammar", "root ::= x"), ("functions", [{}]), ("function_call", "auto"), ("audio", {}),
                             ("modalities", ["audio"]), ("verbosity", "low"), ("web_search_options", {})):
            with self.subTest(field=field):
                self.refused(CHAT, {**TALK, field: value}, field, "does not have it")
        for field, value in (("echo", True), ("best_of", 2)):
            self.refused(COMPLETIONS, {**STORY, field: value}, field, "does not have it")
        neutral = {"response_format": {"type": "text"}, "modalities": ["text"], "user": "me", "store": True, "metadata": {"a": "b"},
                   "functions": None, "service_tier": "auto"}
        status, reply = self.server.post(CHAT, {**TALK, **neutral})
        self.assertEqual(status, 200, reply)

    def test_long_prompts_are_refused_with_numbers(self):
        status, reply = self.server.post(COMPLETIONS, {"prompt": "word " * 4000})
        self.assertEqual((status, reply["error"]["code"]), (400, "context_length_exceeded"))
        self.assertRegex(reply["error"]["message"], r"has \d+ tokens; this server takes at most 3000")
        self.refused("/tokenize", {"content": "word " * 4000}, "content", "tokens; this server takes at most 3000")
        self.refused("/detokenize", {"tokens": [5] * 3001}, "tokens", "at most 3000, got 3001")

    def test_bodies(self):
        for body in (b"", b"{", b"[]", b"5", b'{"prompt": "\xff"}', b'{"prompt": "\\u0000"}', b"[" * 100000):
            status, reply = self.server.post(COMPLETIONS, body)
            self.assertEqual((status, reply["error"]["type"]), (400, "invalid_request_error"), body[:20])

    def test_paths_and_methods(self):
        self.assertEqual(self.server.get("/nothing")[0], 404)
        self.assertEqual(self.server.get(CHAT)[0], 405)
        self.assertEqual(self.server.request("POST", "/health", {})[0], 405)
        self.assertEqual(self.server.request("DELETE", "/")[0], 405)
        status, headers, data = self.server.request("HEAD", "/health")
        self.assertEqual((status, data), (200, b""))

    def test_who_may(self):
        for name in ("localhost", "127.0.0.1:99", "127.3.4.5", "[::1]", "[::1]:80", "LOCALHOST:8080"):
            self.assertEqual(self.server.get("/v1/models", Host=name)[0], 200, name)
        for name in ("example.org", "127.0.0.1.example.org", "localhost.example.org", "", "10.0.0.1", "[::2]"):
            self.assertEqual(self.server.get("/v1/models", Host=name)[0], 403, name)
        self.assertEqual(self.server.get("/v1/models", Host="localhost:5", Origin="http://localhost:5")[0], 200)
        for origin in ("http://evil.example", "null", "http://localhost:6", "localhost:5", "https://"):
            self.assertEqual(self.server.get("/v1/models", Host="localhost:5", Origin=origin)[0], 403, origin)
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", None):
            status, reply = self.server.post(COMPLETIONS, json.dumps(STORY).encode(), {"Content-Type": kind})
            self.assertEqual(status, 415, kind)
        status, _ = self.server.post(COMPLETIONS, json.dumps(STORY).encode(), {"Content-Type": "application/json; charset=utf-8"})
        self.assertEqual(status, 200)
        _, headers, _ = self.server.request("GET", "/health")
        self.assertNotIn("Access-Control-Allow-Origin", headers)

    def test_a_connection_serves_many_requests(self):
        client = self.server.connect()
        head = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        client.sendall(head * 3)
        data = b""
        while data.count(b'{"status":"ok"}') < 3:
            data += client.recv(4096)
        client.close()

    def test_the_log_has_no_text(self):
        line = re.compile(r"POST /v1/completions 200, prompt \d+ tokens, \d+ of them cached, answer 3 tokens, [0-9.]+ s")
        self.server.post(COMPLETIONS, {**STORY, "prompt": "A secret beginning of", "max_tokens": 3})
        wait_for(lambda: line.search("".join(self.server.log)))
        self.assertNotIn("secret", "".join(self.server.log))


if __name__ == "__main__":
    unittest.main(verbosity=1)
