"""crit decode, encode, show, info."""

import json
import os

from conftest import golden_images

PSTREE = next(p for p in golden_images() if p[0].name == "pstree.img")


def test_decode_and_encode_are_byte_exact(crit, tmp_path):
    image, printed = PSTREE
    text, back = tmp_path / "x.json", tmp_path / "x.img"
    crit("decode", "-i", image, "-o", text, "--pretty")
    assert text.read_bytes() == printed.read_bytes().rstrip(b"\n")
    crit("encode", "--in", text, "--out", back)
    assert back.read_bytes() == image.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["x.img", "x.json"]


def test_standard_input_and_output(crit):
    image, _ = PSTREE
    plain = crit("decode", input=image.read_bytes()).stdout
    assert plain == (json.dumps(json.loads(plain)) + "\n").encode()
    assert crit("encode", input=plain).stdout == image.read_bytes()


def test_show_and_info(crit, golden):
    image, printed = PSTREE
    assert crit("show", image).stdout.rstrip(b"\n") == printed.read_bytes().rstrip(b"\n")
    assert json.loads(crit("info", image).stdout) == {"magic": "PSTREE", "count": 1}
    pipes = next(golden.glob("*/pipes-data.img"))
    shown = json.loads(crit("show", "--nopl", pipes).stdout)
    assert shown["entries"][0]["extra"].startswith("... <")


def test_bad_input(crit, tmp_path):
    image, _ = PSTREE
    out = tmp_path / "out"
    out.write_text("as before")
    cut = tmp_path / "cut.img"
    cut.write_bytes(image.read_bytes()[:-1])
    error = crit("decode", "-i", cut, "-o", out, status=1).stderr.decode()
    assert "cut.img: offset 8:" in error
    raw = tmp_path / "pages-1.img"
    raw.write_bytes(b"x" * 4096)
    assert b"0x78787878" in crit("decode", "-i", raw, status=1).stderr
    assert b"No such file" in crit("info", tmp_path / "none", status=1).stderr
    assert b"offset" in crit("encode", "-o", out, status=1, input=b'{"magic": "PSTREE", "entries": [{}]}').stderr
    assert out.read_text() == "as before"
    assert sorted(os.listdir(tmp_path)) == ["cut.img", "out", "pages-1.img"]
    assert b"no command" in crit("frobnicate", status=2).stderr
    assert b"--out needs a value" in crit("encode", "-o", status=2).stderr
