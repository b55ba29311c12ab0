"""rwkvk.h for ctypes, and what every call needs.  A test compares the tables with the header: tests/python/header.py."""

from __future__ import annotations

import _thread
import ctypes as c
import sys
import threading
from enum import IntEnum
from pathlib import Path
from typing import Any, Callable

library = c.CDLL(str(Path(__file__).with_name("rwkvk.dll" if sys.platform == "win32" else "librwkvk.so")))

# Types by letter: pointer, C string, size, uint32 and uint64, bool, float, int or enum; e for a status, - for void.
TYPES: dict[str, Any] = {
    "p": c.c_void_p, "s": c.c_char_p, "z": c.c_size_t, "u": c.c_uint32, "q": c.c_uint64, "b": c.c_bool, "f": c.c_float,
    "i": c.c_int, "e": c.c_int, "-": None, "c16": c.c_char * 16, "c256": c.c_char * 256, "c512": c.c_char * 512,
    "u3": c.c_uint32 * 3}  # fmt: skip
# Each struct begins with its size.  A letter is the type of the names after it.
STRUCTS = {
    "device_info": "u index i type c256 name c512 driver u3 api_version u vendor_id device_id subgroup_size "
    "b subgroup_operations unified_memory is_default usable u max_workgroup_invocations max_shared_memory "
    "q max_storage_range device_memory c256 reason c16 pci",
    "lora": "s path f scale u reserved",
    "model_options": "s path p data z data_bytes s device vocab names cache_dir i quant f group_norm_epsilon "
    "u rescale max_sessions threads b read_file q device_memory p cancel progress progress_user log log_user tools "
    "u exact chunk_rows max_batch mixed_rows p lora z lora_count i fd q fd_offset fd_length",
    "model_info": "s name format version device type u layers width ffn_width vocab heads head_size rank_decay rank_iclr "
    "rank_value rank_gate rank_mix f group_norm_epsilon u rescale begin_token end_token max_sessions b add_bos has_tokenizer "
    "q parameters bytes_per_token device_bytes state_bytes multiply_adds",
    "sampling": "f temperature top_p u top_k f presence frequency decay q seed p biases z bias_count",
    "eval_options": "p logits cancel progress progress_user on_logits logits_user",
    "token": "u id byte_count p bytes f log_probability u top_count p tops",
    "generate_options": "p sampling q max_tokens p stop_tokens z stop_token_count p stop_texts z stop_text_count "
    "b ignore_end p on_text on_token user cancel b log_probabilities u top_log_probabilities p mask",
    "generate_result": "i reason u stop q tokens close_draws",
}
# Results and arguments of functions; every pointer is a p.
FUNCTIONS = """last_error:s version:s cancel_create:ep cancel_destroy:-p cancel_set:-p cancel_is_set:bp devices:epzp
    tokenizer_encode:eppzpzp tokenizer_token:ppup model_open:epp model_close:-p model_get_info:epp model_tokenizer:pp
    model_sampling:epp session_create:epp session_destroy:-p session_reset:ep session_eval:eppzp session_position:qp
    session_generate:eppp session_clone:epp session_state_size:zp session_state_get:eppz
    session_state_set:eppz session_save:epp session_load:epp"""
CALLBACKS = {"log": "-pis", "progress": "bpqq", "text": "bppz", "token": "bpp"}
Status = IntEnum("Status", "OK CANCELLED ERROR_ARGUMENT ERROR_FILE ERROR_UNSUPPORTED ERROR_DEVICE ERROR_MEMORY ERROR_DRIVER "
                 "ERROR_BUSY ERROR_DEVICE_LOST ERROR_INTERNAL", start=0)  # fmt: skip


class RwkvkError(Exception):
    """A call failed.  The text is the library's."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status


class Cancelled(RwkvkError):
    """A Cancel, or a function that returned False, ended the call.  Everything stays valid."""


class _Local(threading.local):
    callbacks = 0  # that are running in this thread, one within the other
    error: BaseException | None = None  # what one of them raised


local = _Local()


def callback(kind: str, function: Callable[..., Any]) -> Any:
    """A function for the library to call.  If it raises, it returns false, and the call that it interrupts raises the same."""

    def run(_user: Any, *arguments: Any) -> Any:
        local.callbacks += 1
        try:
            return function(*arguments)
        except BaseException as error:
            local.error = error
            return False
        finally:
            local.callbacks -= 1

    return c.CFUNCTYPE(*(TYPES[letter] for letter in CALLBACKS[kind]))(run)


def _check(status: int, *call: Any) -> None:
    del call  # whose objects a failure would keep in its traceback
    error, local.error = local.error, None
    if error is not None:
        raise error
    if status != Status.OK:
        text = library.rwkvk_last_error().decode(errors="replace")
        raise (Cancelled if status == Status.CANCELLED else RwkvkError)(Status(status), text)


for _entry in FUNCTIONS.split():
    _name, _types = _entry.split(":")
    _function = getattr(library, "rwkvk_" + _name)
    _function.restype, _function.argtypes = TYPES[_types[0]], [TYPES[letter] for letter in _types[1:]]
    if _types[0] == "e":
        _function.errcheck = _check


class Handle:
    """Owns an object of the library, which is freed when no call uses it and nothing refers to it any more."""

    def __init__(self, free: Callable[[Any], None], *keep: Any) -> None:
        self._as_parameter_ = c.c_void_p()
        self.out = c.byref(self._as_parameter_)  # where the library writes the new object
        self.free, self.keep = free, keep  # keep: what must live as long

    def __del__(self) -> None:
        if self._as_parameter_ and local.callbacks:  # of a call that may hold the lock that freeing takes
            _thread.start_new_thread(self.free, (self._as_parameter_,))
        elif self._as_parameter_:
            self.free(self._as_parameter_)


def _address(value: Any) -> Any:
    if isinstance(value, c._CFuncPtr):  # type: ignore[attr-defined]
        return c.cast(value, c.c_void_p).value
    if isinstance(value, Handle):
        return value._as_parameter_.value
    return c.addressof(value) if isinstance(value, (c.Structure, c.Array)) else value


class Struct(c.Structure):
    """Members are given by name.  The struct keeps what they point to, and refuses a number that does not fit."""

    __slots__ = ("keep",)

    def __init__(self, **members: Any) -> None:
        super().__init__(size=c.sizeof(self))
        self.keep = members
        for name, value in members.items():
            setattr(self, name, _address(value))
            if isinstance(value, int) and not isinstance(getattr(self, name), float) and getattr(self, name) != value:
                raise OverflowError(f"{name}: {value} does not fit")

    def values(self) -> dict[str, Any]:
        """What comes after the size, as str, int, bool, float and tuple."""
        raw = {field[0]: getattr(self, field[0]) for field in self._fields_[1:]}
        raw = {name: value.decode(errors="replace") if isinstance(value, bytes) else value for name, value in raw.items()}
        return {name: tuple(value) if isinstance(value, c.Array) else value for name, value in raw.items()}


def _struct(name: str) -> Any:
    kind, members = None, [("size", TYPES["z"])]
    for word in STRUCTS[name].split():
        kind = TYPES.get(word, kind)
        members += [] if word in TYPES else [(word, kind)]
    return type("rwkvk_" + name, (Struct,), {"_fields_": members, "__slots__": ()})


structs: dict[str, Any] = {name: _struct(name) for name in STRUCTS}
