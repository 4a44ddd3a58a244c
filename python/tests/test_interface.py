"""What programs written for CRIU's pycriu rely on, and what the functions refuse."""

import ast
import copy
import inspect
import io
import os
import pickle
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import pycriu
from pycriu import images, rpc


def test_names():
    assert pycriu.CR_DEFAULT_SERVICE_ADDRESS == "./criu_service.socket"
    assert pycriu.__version__.split(".")[0] == "4"
    from pycriu import rpc_pb2
    from pycriu.images.core_pb2 import core_entry
    from pycriu.images.core_x86_pb2 import thread_info_x86  # noqa: F401

    assert rpc_pb2 is rpc
    assert images.pb.core_entry().DESCRIPTOR.full_name == core_entry().DESCRIPTOR.full_name
    assert rpc.criu_req(type=rpc.DUMP).type == rpc.criu_req_type.Value("DUMP") == 1
    assert images.magic.by_name["CORE"] == 0x55053847
    assert images.magic.by_val[0x55053847] == "CORE"


def test_stubs_say_what_there_is():
    folder = Path(pycriu.__file__).parent
    for stub, module in [("__init__.pyi", pycriu), ("aio.pyi", pycriu.aio), ("images/__init__.pyi", images)]:
        tree = ast.parse((folder / stub).read_text())
        told = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
        for name, node in told.items():
            there = getattr(module, name, None) or getattr(images._codec, name)
            if isinstance(node, ast.ClassDef):
                methods = [n.name for n in node.body if isinstance(n, ast.FunctionDef)]
                assert [m for m in methods if not hasattr(there, m)] == [], name
                continue
            assert inspect.iscoroutinefunction(there) == isinstance(node, ast.AsyncFunctionDef), name
            if module is not pycriu.aio:
                stubbed = {a.arg for a in node.args.args + node.args.kwonlyargs}
                named = {n for n, p in inspect.signature(there).parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
                assert stubbed == named, name
        missing = [n for n in getattr(module, "__all__", []) if n not in told and n not in (folder / stub).read_text()]
        assert missing == []
    assert (folder / "py.typed").exists()


def test_sources_are_read_by_python_3_8():
    for source in Path(pycriu.__file__).parent.rglob("*.py"):
        ast.parse(source.read_text(), str(source), feature_version=(3, 8))


def test_messages_and_dicts(golden):
    image = images.loads(next(golden.glob("files/core-*.img")).read_bytes())
    entry = images.pb.core_entry()
    assert images.pb2dict.dict2pb(image["entries"][0], entry) is entry
    assert entry.tc.comm == image["entries"][0]["tc"]["comm"]
    assert images.pb2dict.pb2dict(entry) == image["entries"][0]
    assert images.pb2dict.pb2dict(entry, pretty=True)["thread_info"]["gpregs"]["ip"].startswith("0x")


def test_exceptions():
    e = pycriu.CRIUExceptionExternal(rpc.DUMP, rpc.DUMP, 3)
    assert (e.typ, e.resp_typ, e.errno) == (rpc.DUMP, rpc.DUMP, 3)
    assert isinstance(e, pycriu.CRIUException) and "No such process" in str(e)
    blocker = pycriu.Blocker(7, "collect", "fd 3", "is odd", "close it", 0)
    error = pycriu.Blocked("text", pid=7, blockers=[blocker])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is pycriu.Blocked and again.blockers == (blocker,) and again.pid == 7
    assert "pid 7 fd 3: is odd; close it" in str(error)


def test_magic_exception():
    with pytest.raises(images.MagicException) as e:
        images.load(io.BytesIO(b"x" * 100))
    assert e.value.magic == 0x78787878
    assert pickle.loads(pickle.dumps(e.value)).magic == 0x78787878


def test_damaged_images_say_file_and_offset(golden, tmp_path):
    data = next(golden.glob("files/mm-*.img")).read_bytes()
    for cut in (3, 9, 11, 40, len(data) - 1):
        path = tmp_path / "mm-1.img"
        path.write_bytes(data[:cut])
        with path.open("rb") as f, pytest.raises(images.ImageError) as e:
            images.load(f)
        assert e.value.file == str(path) and isinstance(e.value.offset, int) and str(path) in str(e.value)
    with pytest.raises(images.ImageError):
        images.loads(data[:8] + struct.pack("<I", 0xFFFFFFFF) + data[12:])
    with pytest.raises(images.ImageError):
        images.loads(b"")


def test_fields_in_no_order():
    ids = bytes(byte for n in range(1, 9) for byte in (n << 3, n))
    body = bytes([104, 5, 72, 1]) + ids + bytes([80, 2, 88, 3, 96, 4, 72, 6])  # secbits first, cap_inh scattered
    magic = struct.pack("<II", images.magic.IMG_COMMON_MAGIC, images.magic.by_name["CREDS"])
    (entry,) = images.loads(magic + struct.pack("<I", len(body)) + body)["entries"]
    assert list(entry)[:3] == ["uid", "gid", "euid"] and list(entry)[-1] == "secbits"
    assert entry["cap_inh"] == [1, 6] and entry["secbits"] == 5
    twice = body + bytes([8, 1])
    with pytest.raises(images.ImageError, match="uid is given twice"):
        images.loads(magic + struct.pack("<I", len(twice)) + twice)


def test_objects_that_are_no_images(golden):
    image = images.loads(next(golden.glob("files/pstree.img")).read_bytes())
    for change, said in [
        (lambda i: i.update(magic="NOPE"), "NOPE"),
        (lambda i: i.pop("magic"), "magic"),
        (lambda i: i["entries"][0].pop("pid"), "pid"),
        (lambda i: i["entries"][0].update(pid=2**32), "pid"),
        (lambda i: i["entries"][0].update(pid=-1), "pid"),
        (lambda i: i["entries"][0].update(pid=2**70), "64 bits"),
        (lambda i: i["entries"][0].update(pid=1.5), "float"),
        (lambda i: i["entries"][0].update(nope=1), "nope"),
        (lambda i: i["entries"][0].update(threads=7), "threads"),
    ]:
        broken = copy.deepcopy(image)
        change(broken)
        out = io.BytesIO()
        with pytest.raises((images.ImageError, TypeError, ValueError)) as e:
            images.dump(broken, out)
        assert said in str(e.value)
        assert out.getvalue() == b""
    loop = []
    loop.append(loop)
    image["entries"][0]["threads"] = loop
    with pytest.raises(ValueError, match="nested"):
        images.dumps(image)
    with pytest.raises(TypeError, match="rb"):
        images.loads("text")


def test_options_are_checked(tmp_path):
    with pytest.raises(TypeError, match="did you mean 'shell_job'"):
        pycriu.dump(1, tmp_path, shel_job=True)
    with pytest.raises(pycriu.OptionError, match="log_level"):
        pycriu.dump(1, tmp_path, log_level="much")
    with pytest.raises(pycriu.OptionError, match="checkpoint"):
        pycriu.dump(0, tmp_path)
    with pytest.raises(TypeError, match="pid"):
        pycriu.dump("1", tmp_path)
    with pytest.raises(FileNotFoundError):
        pycriu.restore(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="deadline"):
        pycriu.dump(1, tmp_path, deadline=-1)


def test_no_such_process_and_no_engine(tmp_path):
    with pytest.raises(pycriu.NoProcess) as e:
        pycriu.dump(4194303, tmp_path)
    assert e.value.errno == 3
    with pytest.raises(pycriu.WorkerError) as e:
        pycriu.dump(1, tmp_path, engine="/no/such/criu")
    assert isinstance(e.value, pycriu.CRIUExceptionInternal)
    c = pycriu.criu()
    c.opts.pid = 4194303
    c.opts.images_dir_fd = os.open(tmp_path, os.O_DIRECTORY)
    with pytest.raises(pycriu.CRIUExceptionExternal) as e:
        c.dump()
    os.close(c.opts.images_dir_fd)
    assert (e.value.typ, e.value.resp_typ, e.value.errno) == (rpc.DUMP, rpc.DUMP, 3)
    assert e.value.error.pid in (0, 4194303)


def test_version_and_features():
    assert pycriu.version() >= (4, 0, 0)
    assert set(pycriu.features()) == {"mem_track", "lazy_pages", "pidfd_store"}
    with pytest.raises(ValueError, match="mem_track"):
        pycriu.features("nope")


def test_a_cancelled_token_cancels_before_the_start(tmp_path):
    token = pycriu.Canceller()
    token.cancel()
    assert token.cancelled
    with pytest.raises(pycriu.Cancelled):
        pycriu.dump(os.getppid(), tmp_path, cancel=token)


def test_a_peer_that_answers_nonsense():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.send(b"\xff\xff\xff")
    c = pycriu.criu()
    c.use_fd(ours)
    with pytest.raises(pycriu.CRIUExceptionInternal):
        c.check()
    theirs.close()
    with pytest.raises(pycriu.CRIUExceptionInternal):
        c.check()
    ours.close()


def test_another_copy_of_the_protos_is_not_in_the_way(tmp_path):
    program = (
        "from google.protobuf import descriptor_pb2, descriptor_pool\n"
        "f = descriptor_pb2.FileDescriptorProto(name='rpc.proto')\n"
        "f.message_type.add(name='criu_opts')\n"
        "descriptor_pool.Default().AddSerializedFile(f.SerializeToString())\n"
        "import pycriu\n"
        "print(pycriu.rpc.criu_opts(images_dir_fd=3).images_dir_fd)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"3\n"
