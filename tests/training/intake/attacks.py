"""Archived attacks, each with the words of the reason for which it is refused."""

import gzip
import json
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from tests.training.intake.packing import (
    CONFIG,
    LAYER,
    LINK_MODE,
    PIPE_MODE,
    PREFIX,
    WEIGHTS,
    Honest,
    patched,
    safetensors,
    special,
    tarred,
    zipped,
    zipped_with,
)

A, B = f"{PREFIX}{LAYER}.lora_A.weight", f"{PREFIX}{LAYER}.lora_B.weight"
LOCAL, DIRECTORY, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
OUTSIDE = "../../outside.txt"
NOTE = b"this must never be written"


@dataclass(frozen=True)
class Attack:
    name: str
    reason: str
    """A part of the sentence."""
    build: Callable[[Honest], bytes | Mapping[str, bytes]]
    """An archive, or several files that were sent by themselves."""
    sent_as: str = "adapter.zip"


def _zip_with(name: str, data: bytes = NOTE) -> Callable[[Honest], bytes]:
    return lambda good: zipped({**good.files(), name: data})


def _tar_with(*more: tarfile.TarInfo) -> Callable[[Honest], bytes]:
    return lambda good: tarred(good.files(), *more)


def _config(**changes: object) -> Callable[[Honest], bytes]:
    return lambda good: zipped(good.files(config=changes))


def _tensors(changes: Mapping[str, Callable[[torch.Tensor], torch.Tensor | None]]) -> Callable[[Honest], bytes]:
    """Tensors made from the honest A of one layer."""
    return lambda good: zipped(good.files(tensors={name: make(good.tensors[A]) for name, make in changes.items()}))


def _dora(
    make: Callable[[torch.Tensor], torch.Tensor], layer: str = LAYER, more: Mapping[str, Any] = MappingProxyType({})
) -> Callable[[Honest], bytes]:
    """A DoRA with an honest magnitude of every layer, and one made from the A of LAYER."""

    def build(good: Honest) -> bytes:
        magnitudes = {
            name.replace("lora_B.weight", "lora_magnitude_vector"): tensor[:, 0].abs() + 1
            for name, tensor in good.tensors.items()
            if name.endswith("lora_B.weight")
        }
        changed = {f"{PREFIX}{layer}.lora_magnitude_vector": make(good.tensors[A])}
        others = {name: one(good.tensors[A]) for name, one in more.items()}
        return zipped(good.files(config={"use_dora": True}, tensors=magnitudes | changed | others))

    return build


def _weights(content: bytes) -> Callable[[Honest], bytes]:
    return lambda good: zipped({**good.files(), WEIGHTS: content})


def _entry(start: int, stop: int, shape: tuple[int, ...] = (1, 2), dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def _bad(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def spoil(tensor: torch.Tensor) -> torch.Tensor:
        spoilt = tensor.clone()
        spoilt[-1, -1] = value
        return spoilt

    return spoil


def _two_zip_entries(first: str, second: str) -> Callable[[Honest], bytes]:
    """Two members whose names have the same length, so that one can be renamed into the other afterwards."""

    def build(good: Honest) -> bytes:
        packed = zipped({**good.files(), first: NOTE})
        return packed.replace(first.encode(), second.encode())

    return build


def _pointing_back(good: Honest) -> bytes:
    """Two directory entries for the bytes of one member, as the bomb without nesting has them by the thousand."""
    files = good.files()
    packed = zipped({WEIGHTS: files[WEIGHTS], CONFIG: files[CONFIG], "README.md": files[CONFIG]})
    second = packed.find(DIRECTORY, packed.find(DIRECTORY) + 4)
    third = packed.find(DIRECTORY, second + 4)
    offset = packed[second + 42 : second + 46]
    return packed[: third + 42] + offset + packed[third + 46 :]


def _overlapping(good: Honest) -> bytes:
    """The directory says that the first member is longer than it is: its bytes reach into the next member."""
    files = good.files()
    packed = zipped({CONFIG: files[CONFIG], WEIGHTS: files[WEIGHTS]})
    local, listed = packed.find(LOCAL), packed.find(DIRECTORY)
    longer = struct.pack("<L", struct.unpack_from("<L", packed, local + 18)[0] + 40)
    packed = packed[: local + 18] + longer + packed[local + 22 :]
    return packed[: listed + 20] + longer + packed[listed + 24 :]


def _lying_size(good: Honest) -> bytes:
    """Both headers promise more bytes than there are."""
    files = good.files()
    packed = zipped({CONFIG: files[CONFIG], WEIGHTS: files[WEIGHTS]})
    size = struct.pack("<L", len(files[CONFIG]) + 7)
    return patched(patched(packed, LOCAL, 22, size), DIRECTORY, 24, size)


def _negative_size(good: Honest) -> bytes:
    packed = bytearray(tarred(good.files(), special("README.md", tarfile.REGTYPE), mode="w"))
    packed[124:136] = b"\xff" * 11 + b"\xf0"
    packed[148:156] = b" " * 8
    packed[148:156] = f"{sum(packed[:512]):06o}\0 ".encode()
    return gzip.compress(bytes(packed))


def _pax(records: bytes) -> Callable[[Honest], bytes]:
    def build(good: Honest) -> bytes:
        info = tarfile.TarInfo("hidden")
        info.type, info.size = tarfile.XHDTYPE, len(records)
        head = info.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)
        return gzip.compress(head + tarred(good.files(), mode="w"))

    return build


def _record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n"
    length = len(body) + 2
    return f"{length}{body}".encode()


def _bomb(good: Honest) -> bytes:
    return zipped({**good.files(), WEIGHTS: bytes(3 << 20)})


def _tar_bomb(good: Honest) -> bytes:
    return tarred({**good.files(), WEIGHTS: bytes(3 << 20)})


def _repeated_key(good: Honest) -> bytes:
    one = json.dumps(_entry(0, 8))
    header = f'{{"{A}": {one}, "{A}": {one}}}'.encode()
    return zipped({**good.files(), WEIGHTS: safetensors(header, bytes(8))})


def _other_base(good: Honest) -> bytes:
    """Every update made for a base model that is twice as wide."""
    wider = {name: tensor.repeat(1, 2) if "lora_A" in name else tensor for name, tensor in good.tensors.items()}
    return zipped(good.files(tensors=wider))


def _many(good: Honest) -> bytes:
    return zipped({**good.files(), **{f"{number}/": b"" for number in range(40)}})


def _pickle(good: Honest) -> bytes:
    call = b"\x80\x04cposix\nsystem\n\x8c\x04true\x85R."
    return zipped({**good.files(), WEIGHTS: call})


ATTACKS = (
    # Names that lead elsewhere.
    Attack("zip-traversal", "climbs out", _zip_with(OUTSIDE)),
    Attack("zip-traversal-inside", "climbs out", _zip_with("adapter/../../outside.txt")),
    Attack("zip-absolute", "absolute path", _zip_with("/var/outside.txt")),
    Attack("zip-home", "absolute path", _zip_with("~/outside.txt")),
    Attack("zip-backslash", "backslash", _zip_with("..\\outside.txt")),
    Attack("zip-drive", "colon", _zip_with("C:/outside.txt")),
    Attack("zip-null-in-name", "control character", _two_zip_entries("README.mdX", "README.md\0")),
    Attack("zip-newline-in-name", "control character", _zip_with("README.md\nrefused")),
    Attack("zip-endless-name", "characters; 1 to 300", _zip_with("x" * 5000)),
    Attack("tar-traversal", "climbs out", lambda good: tarred({**good.files(), OUTSIDE: NOTE}), "adapter.tar.gz"),
    Attack("tar-absolute", "absolute path", lambda good: tarred({**good.files(), "/var/outside": NOTE}), "a.tar.gz"),
    Attack("tar-hidden-name", "climbs out", _pax(_record("path", OUTSIDE)), "adapter.tar.gz"),
    # Members that are no plain files.
    Attack("zip-link", "is a link", lambda good: zipped_with(good.files(), "README.md", b"/etc/passwd", LINK_MODE)),
    Attack("zip-pipe", "is a device", lambda good: zipped_with(good.files(), "README.md", b"", PIPE_MODE)),
    Attack("tar-link", "is a link", _tar_with(special("x", tarfile.SYMTYPE, "/etc")), "adapter.tar.gz"),
    Attack("tar-link-as-folder", "is a link", _tar_with(special("adapter", tarfile.SYMTYPE, "..")), "adapter.tar.gz"),
    Attack("tar-hard-link", "is a link", _tar_with(special(CONFIG, tarfile.LNKTYPE, "/etc/passwd")), "adapter.tgz"),
    Attack("tar-device", "is a device", _tar_with(special("null", tarfile.CHRTYPE)), "adapter.tar.gz"),
    Attack("tar-pipe", "is a device", _tar_with(special("pipe", tarfile.FIFOTYPE)), "adapter.tar.gz"),
    Attack("tar-sparse", "sparse file", _tar_with(special(WEIGHTS, tarfile.GNUTYPE_SPARSE)), "adapter.tar.gz"),
    # One name, two files.
    Attack("zip-twice", "is there twice", _two_zip_entries("adapter_configXjson", CONFIG)),
    Attack("zip-capitals", "same name on some disks", _zip_with("Adapter_Config.JSON")),
    Attack("zip-unicode", "same name on some disks", _zip_with("ａdapter_config.json")),  # noqa: RUF001
    Attack("tar-twice", "is there twice", lambda good: tarred(good.files(), special(CONFIG, tarfile.REGTYPE)), "a.tgz"),
    Attack("zip-two-folders", "in another folder", _zip_with("more/README.md")),
    # Bombs and lies about sizes.
    Attack("zip-bomb", "more than 20 times", _bomb),
    Attack("tar-bomb", "more than 20 times", _tar_bomb, "adapter.tar.gz"),
    Attack("zip-nested", "archive inside the upload", lambda good: zipped({"inner.zip": zipped(good.files())})),
    Attack("tar-nested", "archive inside the upload", lambda good: tarred({"a.tar.gz": tarred(good.files())}), "a.tgz"),
    Attack("gzip-in-gzip", "archive inside an archive", lambda good: gzip.compress(tarred(good.files())), "a.tar.gz"),
    Attack("zip-many", "more than 32 members", _many),
    Attack("zip-shared-bytes", "says one thing of itself", _pointing_back),
    Attack("zip-overlap", "shares its bytes", _overlapping),
    Attack("zip-lying-size", "the archive promised|broken", _lying_size),
    Attack("zip-lying-directory", "no directory names",
           lambda good: patched(zipped(good.files()), END, 12, b"\1\0\0\0")),
    Attack("zip-before", "no directory names", lambda good: b"PK\x03\x04" + zipped(good.files())),
    Attack("zip-encrypted", "encrypted",
           lambda good: patched(patched(zipped(good.files()), LOCAL, 6, b"\1"), DIRECTORY, 8, b"\1")),
    Attack("zip-odd-packing", "packed in an unusual way",
           lambda good: patched(patched(zipped(good.files()), LOCAL, 8, b"\x0c"), DIRECTORY, 10, b"\x0c")),
    Attack("zip-64", "zip64", lambda good: patched(zipped(good.files()), END, 8, b"\xff\xff\xff\xff")),
    Attack("zip-cut", "directory is missing", lambda good: zipped(good.files())[:-300]),
    Attack("zip-damaged", "broken or cut off", lambda good: patched(zipped(good.files()), LOCAL, 60, b"\xff" * 40)),
    Attack("tar-cut", "broken or cut off", lambda good: tarred(good.files())[:-2000], "adapter.tar.gz"),
    Attack("tar-negative-size", "bytes of", _negative_size, "adapter.tar.gz"),
    Attack("tar-hidden-size", "twice, once in a hidden header", _pax(_record("size", "1")), "adapter.tar.gz"),
    Attack("tar-endless-header", "extended header of", _pax(_record("comment", "x") * 9000), "adapter.tar.gz"),
    Attack("tar-broken-header", "broken or cut off", _pax(b"0 path=x\n"), "adapter.tar.gz"),
    Attack("no-tar", "broken or cut off", lambda _: gzip.compress(zlib.compress(NOTE) * 100), "adapter.tar.gz"),
    Attack("seven-zip", "a 7z archive", lambda _: b"7z\xbc\xaf\x27\x1c" + NOTE, "adapter.7z"),
    # Code, and files that have no business here.
    Attack("pickle-bin", "can run code", _zip_with("adapter_model.bin")),
    Attack("pickle-training-args", "can run code", _zip_with("training_args.bin")),
    Attack("pickle-pt", "can run code", _zip_with("optimizer.pt")),
    Attack("pickle-alone", "can run code", lambda _: b"\x80\x04N.", "adapter_model.bin"),
    Attack("pickle-as-safetensors", "a pickle under another name", _pickle),
    Attack("zip-as-safetensors", "a PyTorch pickle",
           lambda good: zipped({**good.files(), WEIGHTS: zipped({"x": NOTE})})),
    Attack("code", "does not belong", _zip_with("modeling_evil.py")),
    Attack("no-config", "adapter_config.json is missing", lambda good: zipped({WEIGHTS: good.files()[WEIGHTS]})),
    Attack("no-weights", "neither is there", lambda good: {CONFIG: good.files()[CONFIG]}),
    Attack("two-weights", "both are there", lambda good: zipped({**good.files(), "adapters.safetensors": NOTE})),
    Attack("archive-among-files", "archive inside the upload", lambda good: {**good.files(), "more.zip": NOTE}),
    # Weights that are not what they say.
    Attack("header-too-long", "only the beginning", _weights(struct.pack("<Q", 1 << 60) + b"{}")),
    Attack("header-no-json", "not JSON", _weights(safetensors(b"{" * 5000))),
    Attack("header-repeats", "twice", _repeated_key),
    Attack("header-gap", "do not follow", _weights(safetensors({A: _entry(4, 12)}, bytes(12)))),
    Attack("header-overlap", "do not follow", _weights(safetensors({A: _entry(0, 8), B: _entry(4, 12)}, bytes(12)))),
    Attack("header-outside", "promises", _weights(safetensors({A: _entry(0, 1 << 40, (1 << 38, 1))}, bytes(8)))),
    Attack("header-endless-shape", "dimensions", _weights(safetensors({A: _entry(0, 8, (10**18,) * 5000)}, bytes(8)))),
    Attack("truncated", "promises", lambda good: zipped({**good.files(), WEIGHTS: good.files()[WEIGHTS][:-100]})),
    Attack("bytes-behind", "promises", lambda good: zipped({**good.files(), WEIGHTS: good.files()[WEIGHTS] + NOTE})),
    Attack("lfs-pointer", "Git LFS", _weights(b"version https://git-lfs.github.com/spec/v1\n" + NOTE)),
    Attack("integers", "I64 numbers", _tensors({A: lambda a: a.long()})),
    Attack("eight-bits", "F8_E4M3 numbers", _tensors({A: lambda a: a.to(torch.float8_e4m3fn)})),
    Attack("nan", "not numbers", _tensors({A: _bad(torch.nan)})),
    Attack("infinite-bf16", "infinite", _tensors({A: lambda a: _bad(torch.inf)(a.bfloat16())})),
    Attack("empty", "no tensor", _weights(safetensors({}))),
    # Tensors that reach beyond the adapter.
    Attack("base-key", "overwrite weights of the base", _tensors({f"{PREFIX}model.norm.weight": lambda a: a[0]})),
    Attack("base-layer", "overwrite weights of the base",
           _tensors({f"{PREFIX}{LAYER}.base_layer.weight": lambda a: a})),
    Attack("bare-key", "overwrite weights of the base", _tensors({"model.norm.weight": lambda a: a[0]})),
    Attack("other-adapter", "an adapter called “other”",
           _tensors({f"{PREFIX}{LAYER}.lora_A.other.weight": lambda a: a})),
    Attack("magnitude", "DoRA", _tensors({f"{PREFIX}{LAYER}.lora_magnitude_vector": lambda a: a[0]})),
    Attack("embedding", "changes an embedding",
           _tensors({f"{PREFIX}model.embed_tokens.lora_embedding_A": lambda a: a})),
    Attack("odd-key", "no name that plain LoRA has", _tensors({f"{PREFIX}{LAYER}.lora_A.bias": lambda a: a[0]})),
    Attack("half-a-pair", "other half is missing", _tensors({B: lambda _: None})),
    Attack("three-dimensions", "a matrix is needed", _tensors({A: lambda a: a[None]})),
    Attack("ranks-differ", "the config says 4", _tensors({A: lambda a: a[:2]})),
    Attack("wrong-shape", "takes 64 numbers", _tensors({A: lambda a: a[:, :-1]})),
    Attack("other-base", "the adapter.s update takes 256 to 64", _other_base),
    Attack("no-such-layer", "there is no layer",
           _tensors({A.replace("layers.0", "layers.9"): lambda a: a,
                     B.replace("layers.0", "layers.9"): lambda a: a.T})),
    Attack("norm-layer", "is not a linear layer",
           _tensors({f"{PREFIX}model.norm.lora_A.weight": lambda a: a,
                     f"{PREFIX}model.norm.lora_B.weight": lambda a: a.T})),
    # Configs that do more than they say.
    Attack("huge-rank", "from 1 to 256", _config(r=100_000)),
    Attack("rank-is-true", "from 1 to 256", _config(r=True)),
    Attack("no-scale", "a number above 0", _config(lora_alpha=0)),
    Attack("pissa", "changed copy of its base", _config(init_lora_weights="pissa")),
    Attack("olora", "changed copy of its base", _config(init_lora_weights="olora")),
    Attack("loftq", "changed copy of its base", _config(init_lora_weights="loftq")),
    Attack("odd-start", "not known here", _config(init_lora_weights="__import__")),
    Attack("layer-replication", "“layer_replication”", _config(layer_replication=[[0, 2], [0, 2]])),
    Attack("modules-to-save", "“modules_to_save”", _config(modules_to_save=["lm_head"])),
    Attack("megatron", "“megatron_config”", _config(megatron_config={"x": 1})),
    Attack("megatron-import", "“megatron_core”", _config(megatron_core="os")),
    Attack("token-indices", "“trainable_token_indices”", _config(trainable_token_indices=[1])),
    Attack("target-parameters", "“target_parameters”", _config(target_parameters=["model.norm.weight"])),
    Attack("dora-without-magnitudes", "has no magnitude", _config(use_dora=True)),
    Attack("dora-neither", "use_dora of adapter_config.json is neither true nor false", _config(use_dora="yes")),
    Attack("dora-short", "one number for each of the 64 rows", _dora(lambda a: a[0, :63])),
    Attack("dora-matrix", "one number for each of the 64 rows", _dora(lambda a: a[:1])),
    Attack("dora-whole-numbers", "holds I32 numbers", _dora(lambda a: a[0].int())),
    Attack("dora-nan", "infinite or not numbers", _dora(lambda a: a[0] * torch.nan)),
    Attack("dora-alone", "only its magnitude is there", _dora(lambda a: a[0], layer="model.norm")),
    Attack("dora-other", "an adapter called “other”",
           _dora(lambda a: a[0], layer=LAYER, more={f"{PREFIX}{LAYER}.lora_A.other.weight": lambda a: a})),
    Attack("slow-rank-pattern", "“rank_pattern”", _config(rank_pattern={"(a+)+$": 4})),
    Attack("slow-alpha-pattern", "“alpha_pattern”", _config(alpha_pattern={"(a+)+$": 4})),
    Attack("biases", "bias of adapter_config.json is “all”", _config(bias="all")),
    Attack("lora-bias", "“lora_bias”", _config(lora_bias=True)),
    Attack("turned", "“fan_in_fan_out”", _config(fan_in_fan_out=True)),
    Attack("another-method", "peft_type", _config(peft_type="IA3")),
    Attack("another-task", "task_type", _config(task_type="SEQ_CLS")),
    Attack("unknown-field", "“invented_later”", _config(invented_later={"x": 1})),
    Attack("config-repeats", "a key is there twice",
           lambda good: zipped({**good.files(), CONFIG: b'{"peft_type": "LORA", "peft_type": "LORA"}'})),
    Attack("config-nested", "not JSON that can be read", lambda good: zipped({**good.files(), CONFIG: b"[" * 200_000})),
    Attack("config-nan", "is no number", lambda good: zipped({**good.files(), CONFIG: b'{"lora_alpha": NaN}'})),
    Attack("config-list", "not a JSON object", lambda good: zipped({**good.files(), CONFIG: b"[]"})),
    Attack("config-huge", "1,000,000 are possible",
           lambda good: zipped({**good.files(), CONFIG: json.dumps({"x": list(range(200_000))}).encode()})),
    Attack("foreign-manifest", "not one that an arena wrote", _zip_with("manifest.json", b"{}")),
)  # fmt: skip
"""Everything here is refused; ``test_attacks.py`` says what else must not happen on the way."""
