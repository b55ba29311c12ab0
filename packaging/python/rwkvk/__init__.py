"""RWKV language models on any Vulkan device.

    with rwkvk.Model("model.gguf") as model, model.session() as session:
        session.eval("Once upon a time")
        for piece in session.generate(200):
            print(piece, end="", flush=True)

A Model is immutable and may be used by all threads.  A Session is one text in progress, in a state of fixed size, for one
thread at a time.  Other Python threads run during calls.  close(), `with` or the garbage collector frees an object.  A failure
raises RwkvkError with the library's text, which uses the names of rwkvk.h; that header documents every option and member.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import weakref
from array import array
from ctypes import byref, c_char_p, c_float, c_size_t, c_uint32, string_at
from dataclasses import dataclass, field
from enum import IntEnum
from queue import SimpleQueue
from struct import pack
from types import SimpleNamespace
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence, Union

from ._library import Cancelled, Handle, RwkvkError, Status, callback, library as _c, local, structs as _structs

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

__all__ = ["Cancel", "Cancelled", "End", "Model", "Quant", "RwkvkError", "Sampling", "Session", "Status", "Text", "devices"]
__version__: str = _c.rwkvk_version().decode()
_BIAS = "=If"  # rwkvk_bias
_STORY = os.path.join(os.path.dirname(__file__), "story.gguf")
Path = Union[str, "os.PathLike[str]"]
Progress = Callable[[int, int], Any]  # done and total; False cancels the call.  Must not use the library.
Log = Callable[[int, str], Any]  # a level of logging and a sentence, in any thread.  Must not use the library.


# How float matrices are stored on the device, and why a text ended; CALLER: it was closed.
Quant = IntEnum("Quant", "NONE Q8 Q6 Q5 Q4 F16", start=0)
End = IntEnum("End", "FAILED STOP_TOKEN STOP_TEXT LENGTH CALLER CANCELLED", start=0)


@dataclass(frozen=True)
class Sampling:
    """How tokens are picked: biases, penalties, softmax, top_p (1 keeps all), top_k (0: no limit), temperature, draw.

    By default the most probable token.  biases are added to the logits of tokens; -inf bans one.
    """

    temperature: float = 0.0
    top_p: float = 0.0
    top_k: int = 0
    presence: float = 0.0
    frequency: float = 0.0
    decay: float = 0.0
    seed: int = 0
    biases: Mapping[int, float] = field(default_factory=dict)

    def _struct(self) -> Any:
        biases = b"".join(pack(_BIAS, *bias) for bias in self.biases.items())
        given = {**vars(self), "biases": ctypes.create_string_buffer(biases) if biases else None}
        return _structs["sampling"](**given, bias_count=len(self.biases))


def _string(value: Path | None) -> bytes | None:
    data = None if value is None else os.fspath(value).encode("utf-8", "surrogateescape")
    if data is not None and b"\0" in data:
        raise ValueError(f"{value!r} contains the character 0")
    return data


def _ids(tokens: Iterable[int]) -> Any:
    ids = array("I", tokens)  # OverflowError: more than 32 bits
    return (c_uint32 * len(ids)).from_buffer(ids) if ids else (c_uint32 * 0)()


def _progress(function: Progress | None) -> Any:
    """Without a function, too: in a callback Python notices Ctrl-C."""
    return callback("progress", lambda done, total: function is None or function(done, total) is not False)


def devices() -> list[SimpleNamespace]:
    """The Vulkan devices in the driver's order, with the members of rwkvk_device_info; memory in bytes."""
    kind, count = _structs["device_info"], c_size_t()
    _c.rwkvk_devices(None, 0, byref(count))
    infos = (kind * count.value)(*(kind() for _ in range(count.value)))
    _c.rwkvk_devices(infos, len(infos), byref(count))
    return [SimpleNamespace(**info.values()) for info in infos[: count.value]]


class Cancel(Handle):
    """A flag that ends the calls it is given to.  It stays set.  Any thread and signal handlers may set it."""

    def __init__(self) -> None:
        super().__init__(_c.rwkvk_cancel_destroy)
        _c.rwkvk_cancel_create(self.out)

    def set(self) -> None:
        _c.rwkvk_cancel_set(self)

    def is_set(self) -> bool:
        return bool(_c.rwkvk_cancel_is_set(self))


class _Closable:
    _handle: Handle | None  # None: closed.  A call in another thread keeps it until it returns.

    def _open(self) -> Handle:
        handle = self._handle
        if handle is None:
            raise ValueError(f"the {type(self).__name__} is closed")
        return handle

    def close(self) -> None:
        self._handle = None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Model(_Closable):
    """A set of weights on one device.  info has the members of rwkvk_model_info, such as vocab, the number of logits."""

    def __init__(self, path: Path | None = None, *, device: str | None = None, vocab: Path | None = None,
                 names: Path | None = None, cache_dir: Path | None = None, quant: Quant = Quant.NONE,
                 lora: Sequence[tuple[Path, float]] = (), cancel: Cancel | None = None, progress: Progress | None = None,
                 log: Log | None = None, **numbers: float) -> None:  # fmt: skip
        """path: a file of any format; None: the built-in story model.  lora: (path, scale), scale 0 for the file's.  progress
        counts bytes.  log: None for the logger "rwkvk".  numbers: other members of rwkvk_model_options, such as max_batch."""
        levels, report = (logging.ERROR, logging.WARNING, logging.INFO), log or logging.getLogger("rwkvk").log
        to_log = callback("log", lambda level, text: report(levels[level], text.decode(errors="replace")))
        adapters = (_structs["lora"] * len(lora))(*(_structs["lora"](path=_string(file), scale=scale) for file, scale in lora))
        options = _structs["model_options"](
            path=_string(_STORY if path is None else path), device=_string(device), vocab=_string(vocab), names=_string(names),
            cache_dir=_string(cache_dir), quant=quant, lora=adapters, lora_count=len(lora), log=to_log, cancel=cancel,
            progress=_progress(progress), **numbers)  # fmt: skip
        self._handle = Handle(_c.rwkvk_model_close, to_log)
        _c.rwkvk_model_open(byref(options), self._handle.out)
        info = _structs["model_info"]()
        _c.rwkvk_model_get_info(self._handle, byref(info))
        self.info = SimpleNamespace(**info.values())

    def _vocabulary(self, handle: Handle) -> Any:
        if not self.info.has_tokenizer:
            raise RwkvkError(Status.ERROR_ARGUMENT, "the model has no vocabulary: give one as vocab, or use token ids")
        return _c.rwkvk_model_tokenizer(handle)

    def encode(self, text: str | bytes) -> list[int]:
        """The token ids of a text."""
        handle, data, count = self._open(), text.encode() if isinstance(text, str) else text, c_size_t()
        ids = (c_uint32 * (3 * len(data)))()
        _c.rwkvk_tokenizer_encode(self._vocabulary(handle), data, len(data), ids, len(ids), byref(count))
        return ids[: count.value]

    def decode(self, tokens: Iterable[int]) -> bytes:
        """The bytes of tokens; they need not be whole characters.  A token without text adds none."""
        handle, size = self._open(), c_size_t()
        vocabulary = self._vocabulary(handle)
        texts = ((_c.rwkvk_tokenizer_token(vocabulary, token, byref(size)), size.value) for token in _ids(tokens))
        return b"".join(string_at(text, count) for text, count in texts if text)

    def sampling(self, **changes: Any) -> Sampling:
        """The model's own sampling, with a random seed and these changes."""
        handle, own = self._open(), _structs["sampling"]()
        _c.rwkvk_model_sampling(handle, byref(own))
        values = {name: getattr(own, name) for name in vars(Sampling())}
        return Sampling(**{**values, "biases": {}, "seed": int.from_bytes(os.urandom(4), "little"), **changes})

    def session(self) -> Session:
        """A new text.  RwkvkError with ERROR_BUSY: max_sessions are in use."""
        model = self._open()
        handle = Handle(_c.rwkvk_session_destroy, model.keep)
        _c.rwkvk_session_create(model, handle.out)
        return Session(self, handle, True)


class Session(_Closable):
    """One text in progress.  A call fails while another one, or a Text that has not ended, is at work on the session."""

    def __init__(self, model: Model, handle: Handle, empty: bool) -> None:
        self.model, self._handle, self._empty = model, handle, empty  # not: a start state at position 0
        self._text: Callable[[], Text | None] = lambda: None

    def close(self) -> None:
        """Closes its Text, too, and gives the state back to the model."""
        text = self._text()
        if text is not None:
            text.close()
        super().close()

    @property
    def position(self) -> int:
        """Tokens read since the session was empty."""
        return int(_c.rwkvk_session_position(self._open()))

    def reset(self) -> None:
        """Forgets everything."""
        _c.rwkvk_session_reset(self._open())
        self._empty = True

    def eval(self, tokens: str | Iterable[int] = (), *, cancel: Cancel | None = None, progress: Progress | None = None) -> Any:
        """Reads tokens, or a text, and returns the logits after the last one: info.vocab floats in a new array, the caller's.

        That is a numpy array over the memory that the library wrote; without numpy, a memoryview.  No tokens: the same logits
        again.  A text in an empty session gets the begin_token first if the file asks for it.  After Cancelled or a failure,
        position says what was read.
        """
        info = self.model.info
        if isinstance(tokens, str):
            begin = info.add_bos and self._empty and self.position == 0
            tokens = [info.begin_token] * begin + self.model.encode(tokens)
        ids, logits = _ids(tokens), (c_float * info.vocab)()
        options = _structs["eval_options"](logits=logits, cancel=cancel, progress=_progress(progress))
        _c.rwkvk_session_eval(self._open(), ids, len(ids), byref(options))
        return numpy.frombuffer(logits, numpy.float32) if numpy else memoryview(logits).cast("B").cast("f")

    def generate(self, max_tokens: int = 1024, *, sampling: Sampling | None = None, stop: Sequence[str] = (),
                 stop_tokens: Sequence[int] | None = None) -> Text:  # fmt: skip
        """Continues the text up to one of `stop`, one of stop_tokens (None: the model's end_token), or max_tokens.

        sampling: None is model.sampling(), the model's own with a random seed.
        """
        if max_tokens < 1:
            raise ValueError(f"max_tokens is {max_tokens}: expected at least 1")
        sampling, ids = sampling or self.model.sampling(), _ids(stop_tokens or ())
        texts = (c_char_p * len(stop))(*map(_string, stop))
        return Text(self, sampling, _Writer(self._open(), dict(
            sampling=sampling._struct(), max_tokens=max_tokens, stop_tokens=None if stop_tokens is None else ids,
            stop_token_count=len(ids), stop_texts=texts if stop else None, stop_text_count=len(stop))))  # fmt: skip

    def state(self) -> bytes:
        """State, position, penalty counts and logits."""
        handle = self._open()
        state = ctypes.create_string_buffer(_c.rwkvk_session_state_size(handle))
        _c.rwkvk_session_state_get(handle, state, len(state))
        return state.raw

    def set_state(self, state: bytes) -> None:
        """Continues from state() of any model of this shape.  A failure (ERROR_FILE) changes nothing."""
        _c.rwkvk_session_state_set(self._open(), state, len(state))
        self._empty = False

    def save(self, path: Path) -> None:
        """Writes state() to a file, as a whole or not at all."""
        _c.rwkvk_session_save(self._open(), _string(path))

    def load(self, path: Path) -> None:
        """Reads a file of save(), or a trained start state."""
        _c.rwkvk_session_load(self._open(), _string(path))
        self._empty = False

    def clone(self) -> Session:
        """Another session that continues from here, bit for bit."""
        handle = self._open()
        copy = Handle(_c.rwkvk_session_destroy, handle.keep)
        _c.rwkvk_session_clone(handle, copy.out)
        return Session(self.model, copy, self._empty)


class _Writer(threading.Thread):
    """Writes a text into a queue.  Does not keep the Text, so that one nobody reads is collected."""

    def __init__(self, session: Handle, options: dict[str, Any]) -> None:
        super().__init__(name="rwkvk text", daemon=True)
        self.session, self.options, self.result, self.cancel = session, options, _structs["generate_result"](), Cancel()
        self.room, self.pieces = threading.Semaphore(32), SimpleQueue[Union[str, None]]()
        self.tokens: list[int] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        on_text, on_token = callback("text", self.on_text), callback("token", self.on_token)
        options = _structs["generate_options"](**self.options, on_text=on_text, on_token=on_token, cancel=self.cancel)
        try:
            _c.rwkvk_session_generate(self.session, byref(options), byref(self.result))
        except BaseException as error:
            self.error = None if isinstance(error, Cancelled) else error.with_traceback(None)
        del self.session
        self.pieces.put(None)

    def on_text(self, text: int, count: int) -> bool:
        self.room.acquire()
        self.pieces.put(string_at(text, count).decode(errors="replace"))
        return not self.cancel.is_set()

    def on_token(self, token: int) -> bool:
        self.tokens.append(_structs["token"].from_address(token).id)
        return True

    def stop(self) -> None:
        self.cancel.set()
        self.room.release()  # for one piece, which then ends the text

    def finish(self) -> bool:
        self.stop()
        if not local.callbacks:  # or this thread is in a call, which may hold what the other waits for
            self.join()
        return True


class Text(_Closable, Iterator[str]):
    """A text in pieces of whole characters, with U+FFFD for bytes that are not UTF-8.  A thread writes at most 32 ahead.

    It ends by itself, by cancel(), by close() or when nothing refers to it; then the session can be used again.  sampling: as
    given or chosen.  tokens: ids written so far.  rest: what close() found written, and so in the state, but not read.
    """

    def __init__(self, session: Session, sampling: Sampling, writer: _Writer) -> None:
        self.session, self.sampling, self.tokens, self.rest = session, sampling, writer.tokens, ""
        self._writer, self._finish = writer, weakref.finalize(self, writer.finish)
        session._text = weakref.ref(self)
        writer.start()

    @property
    def reason(self) -> End | None:
        """Why the text ended; None before that."""
        return None if self._finish.alive else End(self._writer.result.reason)

    def __next__(self) -> str:
        piece = self._writer.pieces.get() if self._finish.alive else None
        if piece is not None:
            self._writer.room.release()
            return piece
        if self._finish() and self._writer.error:
            raise self._writer.error
        raise StopIteration

    def cancel(self) -> None:
        """From any thread: ends the text soon.  The iteration still gives what is written by then."""
        self._writer.stop()

    def close(self) -> None:
        """Ends the text and waits for its thread."""
        if self._finish():
            self.rest = "".join(iter(self._writer.pieces.get, None))
