"""The unmodified `openai` package of PyPI against a running server:

    python3 openai_python.py http://127.0.0.1:8080/v1

Each line is one thing that works; the first failure ends the program with an exception."""

import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2] if len(sys.argv) > 2 else "none")
TALK = [{"role": "user", "content": "Once upon a time"}]
TOOL = {"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


def passed(what, detail=""):
    print(f"ok {what}{': ' if detail else ''}{detail}")


def models():
    entry = client.models.list().data[0]
    assert client.models.retrieve(entry.id).id == entry.id
    passed("models", entry.id)
    return entry


def completions(model):
    whole = client.completions.create(model=model, prompt="Once upon a time", max_tokens=12, seed=1, logprobs=2)
    assert whole.usage.completion_tokens == 12 and len(whole.choices[0].logprobs.tokens) == 12
    stream = client.completions.create(model=model, prompt="Once upon a time", max_tokens=12, seed=1, stream=True)
    text = "".join(chunk.choices[0].text for chunk in stream)
    assert text == whole.choices[0].text, (text, whole.choices[0].text)
    passed("completions", repr(text))


def chats(model):
    whole = client.chat.completions.create(model=model, messages=TALK, max_tokens=12, seed=1, n=2, logprobs=True, top_logprobs=2)
    assert len(whole.choices) == 2 and whole.choices[0].logprobs.content[0].top_logprobs[0].logprob <= 0
    stream = client.chat.completions.create(model=model, messages=TALK, max_tokens=12, seed=1, stream=True,
                                            stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content, (text, whole.choices[0].message.content)
    assert chunks[-1].usage.completion_tokens == 12 and chunks[-1].usage.prompt_tokens_details.cached_tokens > 0
    passed("chats", repr(text))
    with client.chat.completions.stream(model=model, messages=TALK, max_tokens=60, seed=1, stop=["a"]) as events:
        final = events.get_final_completion()
    assert final.choices[0].finish_reason == "stop" and final.choices[0].message.content == text[:text.index("a")].rstrip()
    passed("the package's own streams")


def tools(model):
    """A required call; models without tools refuse it by name."""
    try:
        reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "How is the weather in Paris?"}],
                                               tools=[TOOL], tool_choice="required", max_tokens=60, temperature=0)
    except openai.BadRequestError as error:
        assert error.param == "tools", error
        passed("tools are refused by name", error.message)
        return
    message = reply.choices[0].message
    if not message.tool_calls:
        passed("tools, without a call", repr(message.content))
        return
    call = message.tool_calls[0]
    again = client.chat.completions.create(model=model, max_tokens=20, temperature=0, tools=[TOOL], messages=[
        {"role": "user", "content": "How is the weather in Paris?"}, message,
        {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear"}'}])
    passed("tools", f"{call.function.name}({call.function.arguments}), then {again.choices[0].message.content!r}")
    chunks = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "How is the weather in Paris?"}],
                                            tools=[TOOL], tool_choice="required", max_tokens=60, temperature=0, stream=True)
    calls = [part for chunk in chunks for choice in chunk.choices for part in choice.delta.tool_calls or []]
    assert calls[0].function.arguments == call.function.arguments
    passed("tools in a stream")


def errors(model):
    for kind, ask in ((openai.NotFoundError, dict(model="other", messages=TALK)),
                      (openai.BadRequestError, dict(model=model, messages=TALK, temperature=-1)),
                      (openai.BadRequestError, dict(model=model, messages=TALK, response_format={"type": "json_object"}))):
        try:
            client.chat.completions.create(**ask)
            raise AssertionError(ask)
        except kind as error:
            passed(kind.__name__, f"{error.param}: {error.message}")


entry = models()
completions(entry.id)
chats(entry.id)
tools(entry.id)
errors(entry.id)
print("openai", openai.__version__)
