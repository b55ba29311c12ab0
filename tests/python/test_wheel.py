"""The installed module, with and without numpy, beside the program that RWKVK_PROGRAM names: pytest test_wheel.py."""

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import rwkvk

try:
    import numpy
except ImportError:
    numpy = None

PROGRAM = os.environ["RWKVK_PROGRAM"]
DATA = Path(__file__).parent.parent / "data"
PROMPT = "Once upon a time"
LONG = "Once upon a time there was a little girl who lived with her mother in a small house at the edge of a great forest."


def program(*arguments):
    return subprocess.run([PROGRAM, *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout


def python(code):
    """Runs a program of its own, which must end by itself."""
    return subprocess.run([sys.executable, "-c", "import rwkvk\n" + code], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def model():
    with rwkvk.Model(max_sessions=3) as model:
        yield model


@pytest.fixture
def session(model):
    with model.session() as session:
        yield session


# ---------------------------------------------------------------------------------------------------- models


def test_is_the_installed_one():
    assert "site-packages" in rwkvk.__file__
    assert rwkvk.__version__ == program("--version").decode().split()[1]


def test_devices():
    found = rwkvk.devices()
    assert sum(device.is_default for device in found) == 1
    assert all(isinstance(device.name, str) and device.device_memory > 0 and len(device.api_version) == 3 for device in found)
    assert [device.index for device in found] == list(range(len(found)))


def test_info(model):
    info = model.info
    assert (info.version, info.layers, info.vocab, info.max_sessions, info.has_tokenizer) == ("7", 4, 2048, 3, True)
    assert info.device in {device.name for device in rwkvk.devices()}


def test_options(tmp_path):
    with rwkvk.Model(DATA / "v7-c192-bf16.safetensors", vocab=DATA / "tiny_vocab.txt", quant=rwkvk.Quant.F16, exact=True,
                     device="0", cache_dir=tmp_path / "käse", max_sessions=1) as model:  # fmt: skip
        assert (model.info.type, model.info.max_sessions, model.info.format) == ("F16", 1, "safetensors")
    assert any((tmp_path / "käse").iterdir())


@pytest.mark.parametrize("error, options", [(OverflowError, {"threads": -1}), (AttributeError, {"max_session": 1}),
                                            (ValueError, {"device": "a\0b"}), (TypeError, {"max_batch": "2"})])  # fmt: skip
def test_options_that_are_none(error, options):
    with pytest.raises(error):
        rwkvk.Model(**options)


def test_missing_file(tmp_path):
    with pytest.raises(rwkvk.RwkvkError, match=r"nö\.gguf: cannot be opened") as failure:
        rwkvk.Model(tmp_path / "nö.gguf")
    assert failure.value.status == rwkvk.Status.ERROR_FILE


def test_not_a_model():
    with pytest.raises(rwkvk.RwkvkError, match="test_wheel.py: ") as failure:
        rwkvk.Model(__file__)
    assert failure.value.status in (rwkvk.Status.ERROR_FILE, rwkvk.Status.ERROR_UNSUPPORTED)


def test_no_such_device():
    with pytest.raises(rwkvk.RwkvkError, match="no-such-device") as failure:
        rwkvk.Model(device="no-such-device")
    assert failure.value.status == rwkvk.Status.ERROR_DEVICE


def with_one_more_tensor(file):
    data = (DATA / "v7-c192-bf16.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = json.loads(data[8 : 8 + size])
    end = len(data) - 8 - size
    tensors["surplus.weight"] = {"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]}
    header = json.dumps(tensors).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + size :] + bytes(4))


def test_log(tmp_path, caplog):
    file, reports = tmp_path / "model.safetensors", []
    with_one_more_tensor(file)
    with rwkvk.Model(file, log=lambda *report: reports.append(report)):
        assert any(level == logging.WARNING and "surplus.weight" in text for level, text in reports)
    with caplog.at_level(logging.INFO, "rwkvk"), rwkvk.Model(file):
        assert reports == [(record.levelno, record.message) for record in caplog.records]


def test_without_a_vocabulary():
    with rwkvk.Model(DATA / "v7-c192-bf16.safetensors") as model, model.session() as session:
        with pytest.raises(rwkvk.RwkvkError, match="no vocabulary"):
            model.encode("a")
        assert len(session.eval([1, 2, 3])) == model.info.vocab
        with pytest.raises(rwkvk.RwkvkError, match="has no vocabulary"):
            next(session.generate(5))


def test_progress_of_loading():
    steps = []
    rwkvk.Model(progress=lambda *step: steps.append(step)).close()
    assert steps[-1][0] == steps[-1][1] > 1_000_000
    with pytest.raises(rwkvk.Cancelled):
        rwkvk.Model(progress=lambda done, total: False)
    with pytest.raises(ZeroDivisionError):
        rwkvk.Model(progress=lambda done, total: 1 / 0)


def test_closed():
    model = rwkvk.Model()
    session = model.session()
    session.eval(PROMPT)
    model.close()
    model.close()
    with pytest.raises(ValueError, match="the Model is closed"):
        model.session()
    with pytest.raises(rwkvk.RwkvkError, match="closed"):
        session.eval([1])
    session.close()
    session.close()
    with pytest.raises(ValueError, match="the Session is closed"):
        session.state()


def test_sessions_keep_their_model():
    session = rwkvk.Model().session()
    gc.collect()
    assert len(session.eval(PROMPT)) == session.model.info.vocab


def test_too_many_sessions(model):
    sessions = [model.session() for _ in range(3)]
    with pytest.raises(rwkvk.RwkvkError) as failure:
        model.session()
    assert failure.value.status == rwkvk.Status.ERROR_BUSY
    sessions.pop().close()
    sessions.append(model.session())
    del sessions[0]
    sessions.append(model.session())
    for session in sessions:
        session.close()


# ---------------------------------------------------------------------------------------------------- tokens


def test_tokens_of_the_program(model):
    text = "Once upon a time, König 🐉\n"
    assert model.encode(text) == [int(token) for token in program("tokenize", text).split()]
    assert model.encode(text.encode()) == model.encode(text)
    assert model.decode(model.encode(text)).decode() == text
    assert model.encode("") == [] and model.decode([]) == b"" and model.decode([0]) == b""


def test_token_that_is_none(model, session):
    with pytest.raises(OverflowError):
        model.decode([-1])
    with pytest.raises(rwkvk.RwkvkError, match="token 2048 at position 1: expected an id below") as failure:
        session.eval([1, 2048])
    assert failure.value.status == rwkvk.Status.ERROR_ARGUMENT and session.position == 0


# ---------------------------------------------------------------------------------------------------- logits


@pytest.mark.parametrize("prompt", [PROMPT, LONG])
def test_logits_of_the_program(session, prompt):
    logits = session.eval(prompt)
    assert bytes(logits) == program("logits", "-q", prompt)
    assert bytes(session.eval()) == bytes(logits)


def test_logits_are_an_array(session):
    logits = session.eval(PROMPT)
    if numpy:
        assert (logits.dtype, logits.shape, logits.flags.owndata) == (numpy.float32, (2048,), False)
        assert numpy.isfinite(logits).all()
    else:
        assert (type(logits), logits.format, logits.shape) == (memoryview, "f", (2048,))
    before = bytes(logits)
    session.eval([5])
    session.close()
    gc.collect()
    assert bytes(logits) == before and bytes(logits) != bytes(2048 * 4)


def test_a_text_begins_once(model, session):
    session.eval(PROMPT)
    assert session.position == 1 + len(model.encode(PROMPT))
    session.eval(PROMPT)
    assert session.position == 1 + 2 * len(model.encode(PROMPT))
    session.reset()
    session.eval(model.encode(PROMPT))
    assert session.position == len(model.encode(PROMPT))


def test_cancelled_eval(model, session):
    tokens, cancel = model.encode(LONG) * 20, rwkvk.Cancel()
    with pytest.raises(rwkvk.Cancelled) as failure:
        session.eval(tokens, cancel=cancel, progress=lambda done, total: cancel.set())
    assert failure.value.status == rwkvk.Status.CANCELLED and cancel.is_set()
    read = session.position
    assert 0 < read < len(tokens)
    assert len(session.eval(tokens[read:])) == 2048 and session.position == len(tokens)


def test_interrupted_eval(model, session):
    """Ctrl-C while the library works."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which background jobs of shells have not
    with pytest.raises(KeyboardInterrupt):
        session.eval(model.encode(LONG) * 20, progress=lambda done, total: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, before)
    assert 0 < session.position < 20 * len(model.encode(LONG))


def test_freed_in_a_callback(session):
    """While the library works, it must not be called: another thread frees what is given up meanwhile."""
    freed, done = [], threading.Event()

    def give_up(total):
        handle = rwkvk._library.Handle(lambda pointer: (freed.append(threading.get_ident()), done.set()))
        handle._as_parameter_.value = total

    session.eval([1] * 15, progress=lambda read, total: give_up(total))
    assert done.wait(60) and freed and threading.get_ident() not in freed


def test_failures_keep_no_session(model):
    failures = []
    for tokens in ([-1], [2048], []):
        session = model.session()
        with pytest.raises((rwkvk.RwkvkError, OverflowError)) as failure:
            session.eval(tokens)
        failures.append(failure)
        text = session.generate(1)
        with pytest.raises(rwkvk.RwkvkError) as failure:
            next(text)
        failures.append(failure)
        session.close()
    sessions = [model.session() for _ in range(3)]
    for session in sessions:
        session.close()


def test_garbage_in_a_callback():
    """A session and a text that are collected while the library works."""
    code = f"""
import gc
gc.disable()
model = rwkvk.Model(max_sessions=2)
class Ring: pass
ring = Ring()
ring.ring, ring.session = ring, model.session()
ring.session.eval([1])
ring.text = ring.session.generate(10**6)
session = model.session()
del ring
session.eval({[1] * 100}, progress=lambda done, total: gc.collect())
while True:
    try:
        model.session()
        break
    except rwkvk.RwkvkError:
        pass
print("done")
"""
    assert python(code).stdout == "done\n"


# ---------------------------------------------------------------------------------------------------- texts


def test_text_of_the_program(session):
    for arguments, sampling in [(["--temp", "0"], rwkvk.Sampling()), (["--seed", "7"], session.model.sampling(seed=7))]:
        session.reset()
        session.eval(PROMPT)
        with session.generate(80, sampling=sampling) as text:
            written = "".join(text)
        theirs = program("generate", "-q", "-n", "80", *arguments, PROMPT).decode()
        assert theirs in (PROMPT + written, PROMPT + written + "\n")
        assert text.reason in (rwkvk.End.LENGTH, rwkvk.End.STOP_TOKEN) and session.model.decode(text.tokens).decode() == written


def test_random_seeds(session):
    session.eval(PROMPT)
    text = session.generate(1)
    list(text)
    assert text.sampling.temperature > 0 and text.sampling.seed != session.model.sampling().seed


def test_stops(model, session):
    session.eval(PROMPT)
    start = session.state()
    greedy = list(session.generate(30, sampling=rwkvk.Sampling()))
    session.set_state(start)
    text = session.generate(30, sampling=rwkvk.Sampling(), stop=["no such text", " little"])
    assert "".join(text) == "".join(greedy).split(" little")[0] and text.reason == rwkvk.End.STOP_TEXT
    session.set_state(start)
    text = session.generate(30, sampling=rwkvk.Sampling(), stop_tokens=model.encode(" little"))
    assert "".join(text) == "".join(greedy).split(" little")[0] and text.reason == rwkvk.End.STOP_TOKEN
    session.set_state(start)
    ends = rwkvk.Sampling(biases={0: 1000.0})
    assert list(session.generate(3, sampling=ends)) == []
    text = session.generate(3, sampling=ends, stop_tokens=[])
    assert list(text) == [] and text.tokens == [0, 0, 0] and text.reason == rwkvk.End.LENGTH


def test_biases(session):
    session.eval(PROMPT)
    text = session.generate(5, sampling=rwkvk.Sampling(biases={1094: 1000.0, 5: float("-inf")}))
    list(text)
    assert text.tokens == [1094] * 5


def test_characters_are_whole(model, session):
    """Both bytes of a character are tokens: the first is the most probable until it has been picked."""
    first, second = model.encode(b"\xc3")[0], model.encode(b"\xb6")[0]
    sampling = rwkvk.Sampling(biases={first: 1000.0, second: 900.0}, presence=200.0)
    session.eval(PROMPT)
    start = session.state()
    text = session.generate(2, sampling=sampling)
    assert list(text) == ["ö"] and text.tokens == [first, second]
    session.set_state(start)
    assert list(session.generate(1, sampling=sampling)) == ["\ufffd"]


def test_nothing_to_continue(session):
    with pytest.raises(rwkvk.RwkvkError, match="feed at least one token first"):
        next(session.generate(1))
    with pytest.raises(ValueError, match="max_tokens"):
        session.generate(0)


def writers():
    return [thread for thread in threading.enumerate() if thread.name == "rwkvk text"]


def test_closed_text(model, session):
    session.eval(PROMPT)
    before = session.position
    text = session.generate(10**6, stop_tokens=[])
    written = next(text) + next(text)
    assert len(writers()) == 1 and text.reason is None
    with pytest.raises(rwkvk.RwkvkError, match="in use"):
        session.eval([1])
    text.close()
    assert not writers() and text.reason in (rwkvk.End.CALLER, rwkvk.End.CANCELLED)
    assert model.decode(text.tokens).decode(errors="replace") == written + text.rest
    assert session.position == before + len(text.tokens)
    with pytest.raises(StopIteration):
        next(text)
    text.close()
    session.eval([1])


def test_bounded(model, session):
    """Without a reader the text waits, whatever else the device has to do meanwhile."""
    session.eval(PROMPT)
    with session.generate(10**6, stop_tokens=[]) as text, model.session() as other:
        while len(text.tokens) < 32:
            other.eval([1])
        for _ in range(100):
            other.eval([1])
        assert len(text.tokens) < 40


def test_abandoned_text(session):
    session.eval(PROMPT)
    next(session.generate(10**6, stop_tokens=[]))
    for _ in session.generate(10**6, stop_tokens=[]):
        break
    assert not writers()
    session.eval([1])


def test_session_closes_its_text(model):
    session = model.session()
    session.eval(PROMPT)
    text = session.generate(10**6, stop_tokens=[])
    next(text)
    session.close()
    assert not writers() and text.reason is not None


def test_cancelled_text(session):
    session.eval(PROMPT)
    text = session.generate(10**6, stop_tokens=[])
    threading.Timer(0.2, text.cancel).start()
    pieces = list(text)
    assert text.reason in (rwkvk.End.CALLER, rwkvk.End.CANCELLED) and "".join(pieces) and not writers()
    session.eval([1])


@pytest.mark.parametrize("ending", ["", "del model, session", "raise SystemExit", "model.close()"])
def test_end_of_python(ending):
    ended = python(f"""
model = rwkvk.Model()
session = model.session()
session.eval([1])
text = session.generate(10**6, stop_tokens=[])
next(text)
{ending}
""")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("batch", [0, 2])
def test_two_threads(batch):
    model = rwkvk.Model(max_batch=batch)
    texts, both = {}, threading.Barrier(2, timeout=60)

    def write(seed):
        with model.session() as session:
            session.eval(PROMPT)
            text = session.generate(60, sampling=model.sampling(seed=seed))
            pieces = [next(text)]
            both.wait()  # both texts are being written
            texts[seed] = "".join(pieces + list(text))

    threads = [threading.Thread(target=write, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with model.session() as session:
        for seed in (1, 2):
            session.reset()
            session.eval(PROMPT)
            assert texts[seed] == "".join(session.generate(60, sampling=model.sampling(seed=seed)))
    assert texts[1] != texts[2]


# ---------------------------------------------------------------------------------------------------- states


def test_states(model, session, tmp_path):
    session.eval(PROMPT)
    state, sampling = session.state(), model.sampling(seed=3)
    text = "".join(session.generate(30, sampling=sampling))
    with model.session() as other:
        other.set_state(state)
        assert "".join(other.generate(30, sampling=sampling)) == text and other.position == session.position
    session.set_state(state)
    with session.clone() as fork:
        assert "".join(fork.generate(30, sampling=sampling)) == text and session.position < fork.position
    session.save(tmp_path / "ä.state")
    assert (tmp_path / "ä.state").read_bytes() == state == session.state()
    session.reset()
    session.load(tmp_path / "ä.state")
    assert session.state() == state
    assert "".join(session.generate(30, sampling=sampling)) == text


def test_damaged_states(session):
    session.eval(PROMPT)
    state = session.state()
    for damaged in (state[:-1], b"", bytes([state[0] ^ 1]) + state[1:], state[:-1] + bytes([state[-1] ^ 1])):
        with pytest.raises(rwkvk.RwkvkError) as failure:
            session.set_state(damaged)
        assert failure.value.status == rwkvk.Status.ERROR_FILE and str(failure.value)
    assert session.state() == state


def test_types_are_declared():
    assert (Path(rwkvk.__file__).parent / "py.typed").exists()
