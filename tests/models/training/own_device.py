"""A device whose tensors are its own, though the processor computes them: what a GPU needs, without one.

PyTorch's interface for devices in Python registers ``own``. An operation on its tensors and on one of the
processor is an error, as it is with CUDA, and a value leaves the device only if the code asks for it. It is
registered for the whole process, so a test uses it in a process of its own.
"""

from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "own"
_LIBRARY = torch.library.Library("_", "IMPL")
_STORED: dict[int, torch.Tensor] = {}
"""The values of a storage of the device, as a tensor of the processor; nothing is freed."""
_WHOLE: dict[tuple[int, int], torch.Tensor] = {}
"""The tensor of the device that has all values of a storage of the processor from a place on."""


class _Module:
    """The functions of ``torch.own`` that PyTorch calls."""

    def __getattr__(self, name: str) -> Any:
        return {
            "_is_in_bad_fork": lambda: False,
            "current_device": lambda: 0,
            "device_count": lambda: 1,
            "get_amp_supported_dtype": lambda: [torch.bfloat16, torch.float16],
            "get_rng_state": lambda _: torch.zeros(0, dtype=torch.uint8),
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "manual_seed_all": lambda _: None,
            "set_rng_state": lambda *_: None,
        }[name]


def register() -> None:
    """Make the device known to PyTorch."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    _LIBRARY.fallback(_compute, "PrivateUse1")


def _compute(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Compute an operation by the processor; its results are on the device."""
    flat, form = pytree.tree_flatten((args, kwargs))
    name = operation._schema.name
    others = [
        one for one in flat if isinstance(one, torch.Tensor) and one.dim() and not _is_here(one)
    ]
    if others and not any(word in name for word in ("copy", "index")):
        msg = f"{name}: one tensor is on the device, another one on the processor"
        raise RuntimeError(msg)
    plain = [_plain(one) for one in flat]
    values, named = pytree.tree_unflatten(plain, form)
    if name == "aten::_copy_from":
        values[1].copy_(values[0])
        return args[1]
    if (
        name == "aten::as_strided" and len(values) == 4
    ):  # a tensor of the device begins where its values do
        values = *values[:3], (values[3] or 0) + values[0].storage_offset()
    found = operation(*values, **named)
    if name == "aten::_to_copy" and torch.device("cpu") in flat:
        return found
    given = {id(value): one for value, one in zip(plain, flat, strict=True) if _is_here(one)}
    for value, one in zip(plain, flat, strict=True):
        if _is_here(one) and one.shape != value.shape:  # a result for which PyTorch made no room
            one.data = _placed(value)
    return pytree.tree_map(lambda one: given.get(id(one), _placed(one)), found)


def _is_here(one: Any) -> bool:
    return isinstance(one, torch.Tensor) and one.device.type == NAME


def _plain(one: Any) -> Any:
    if _is_here(one):
        stored = _STORED[one.untyped_storage()._cdata]
        return stored.as_strided(one.shape, one.stride(), stored.storage_offset())
    return torch.device("cpu") if isinstance(one, torch.device) else one


def _placed(one: Any) -> Any:
    """A tensor of the device with these values, shape and strides."""
    if not isinstance(one, torch.Tensor):
        return one
    storage, offset = one.untyped_storage(), one.storage_offset()
    place = storage._cdata, offset
    if place not in _WHOLE:
        size = (storage.nbytes() // one.itemsize - offset,)
        whole = torch._C._acc.create_empty_tensor(size, one.dtype)
        _WHOLE[place] = whole
        _STORED[whole.untyped_storage()._cdata] = one.as_strided(size, (1,), offset)
    on_processor = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
    alias = torch.ops.aten._reshape_alias.default
    return alias.redispatch(on_processor, _WHOLE[place], one.shape, one.stride())
