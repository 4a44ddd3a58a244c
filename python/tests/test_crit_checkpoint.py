"""crit x, diff, verify and edit over the golden checkpoints."""

import json
import shutil

import pytest

FOLDERS = ["files", "inet", "ipc", "locks", "memory", "sockets", "task", "threads", "tree", "tty", "unix", "watch"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_view_of_every_checkpoint(crit, golden, folder):
    tree = json.loads((golden / folder / "json" / "pstree.json").read_text())["entries"]
    for what in ("ps", "fds", "mems", "rss", "sk"):
        people = crit("x", golden / folder, what).stdout.decode()
        rows = json.loads(crit("x", "--json", golden / folder, what).stdout)
        if what in ("ps", "fds", "sk"):
            assert [row["pid"] for row in rows] == [entry["pid"] for entry in tree]
        for row in rows:
            # A process without sockets has no line of its own among them.
            assert str(row["pid"]) in people or what == "sk" and not row["sockets"]


def test_views_agree_with_the_images(crit, golden):
    folder = golden / "files"
    pid = json.loads((folder / "json" / "pstree.json").read_text())["entries"][0]["pid"]
    mm = json.loads((folder / "json" / f"mm-{pid}.json").read_text())["entries"][0]
    (row,) = json.loads(crit("x", "--json", folder, "mems").stdout)
    assert [area["start"] for area in row["areas"]] == [int(vma["start"], 16) for vma in mm["vmas"]]
    fdinfo = json.loads((folder / "json" / "fdinfo-2.json").read_text())["entries"]
    (row,) = json.loads(crit("x", "--json", folder, "fds").stdout)
    assert sorted(fd["fd"] for fd in row["fds"]) == sorted(entry["fd"] for entry in fdinfo)
    assert "golden" in crit("x", folder, "ps").stdout.decode()


@pytest.mark.parametrize("folder", FOLDERS)
def test_golden_checkpoints_are_complete(crit, golden, folder):
    found = json.loads(crit("verify", "--json", golden / folder).stdout)
    assert found["complete"] and not found["problems"]
    assert "a CPU of type x86_64" in found["needs"]


@pytest.fixture
def copied(golden, tmp_path):
    return shutil.copytree(golden / "files", tmp_path / "copied", ignore=shutil.ignore_patterns("json"))


def test_incomplete_checkpoints(crit, copied):
    pid = json.loads(crit("x", "--json", copied, "ps").stdout)[0]["pid"]
    for damage, said in [
        (lambda: (copied / "pages-1.img").write_bytes(b"short"), "pages-1.img: 5 bytes"),
        (lambda: (copied / "files.img").write_bytes((copied / "files.img").read_bytes()[:-1]), "files.img: offset"),
        (lambda: (copied / "inventory.img").unlink(), "no complete checkpoint"),
        (lambda: (copied / f"core-{pid}.img").unlink(), f"core-{pid}.img: missing"),
    ]:
        damage()
        found = json.loads(crit("verify", "--json", copied, status=1).stdout)
        assert not found["complete"]
        assert any(said in problem for problem in found["problems"]), found["problems"]
    assert "not a complete checkpoint" in crit("verify", copied, status=1).stdout.decode()


def test_diff(crit, golden, copied):
    assert crit("diff", golden / "files", copied).stdout == b""
    pid = json.loads(crit("x", "--json", copied, "ps").stdout)[0]["pid"]
    crit("edit", copied / f"core-{pid}.img", "entries[0].tc.comm=other")
    pages = bytearray((copied / "pages-1.img").read_bytes())
    pages[4096] ^= 1
    (copied / "pages-1.img").write_bytes(pages)
    text = crit("diff", golden / "files", copied, status=1).stdout.decode()
    assert f"core-{pid}.img" in text and 'entries[0].tc.comm: "golden" -> "other"' in text and "1 pages differ" in text
    rows = json.loads(crit("diff", "--json", golden / "files", copied, status=1).stdout)
    assert {row["file"] for row in rows} == {f"core-{pid}.img", "pages-1.img"}


def test_edit_of_a_field(crit, copied):
    image = copied / "pstree.img"
    before = image.read_bytes()
    for wrong in ["entries[0].nope=1", "entries[9].pid=1", "entries[0].pid=-1", "entries[0].pid=x", "entries[0].pid",
                  "magic=CORE", "entries[0].pid=null", "entries[0].pid=4294967296"]:
        status = 1 if any(w in wrong for w in ("nope", "=-1", "=x", "null", "4294967296")) else 2
        crit("edit", image, wrong, status=status)
        assert image.read_bytes() == before
    out = copied.parent / "out.img"
    crit("edit", image, "-o", out, "entries[*].pgid=12")
    assert image.read_bytes() == before
    assert json.loads(crit("show", out).stdout)["entries"][0]["pgid"] == 12


def test_edit_of_a_pid(crit, copied):
    pid = json.loads(crit("x", "--json", copied, "ps").stdout)[0]["pid"]
    crit("edit", copied, "--pid", f"{pid}={pid}", status=2)
    crit("edit", copied, "--pid", "1=2", status=1)
    crit("edit", copied, "--pid", f"{pid}=99999999", status=2)
    crit("edit", copied, "--pid", f"{pid}=77")
    assert json.loads(crit("x", "--json", copied, "ps").stdout)[0]["pid"] == 77
    assert (copied / "core-77.img").exists() and not (copied / f"core-{pid}.img").exists()
    crit("verify", copied)


def test_edit_of_a_path_and_an_address(crit, golden, copied, tmp_path):
    crit("edit", copied, "--path", "/tmp=/var/tmp")
    paths = [fd["path"] for fd in json.loads(crit("x", "--json", copied, "fds").stdout)[0]["fds"]]
    assert any(p.startswith("/var/tmp/") for p in paths) and not any(p.startswith("/tmp/") for p in paths)
    sockets = shutil.copytree(golden / "sockets", tmp_path / "sockets", ignore=shutil.ignore_patterns("json"))
    crit("edit", sockets, "--address", "127.0.0.1=10.1.2.3")
    text = crit("x", sockets, "sk").stdout.decode()
    assert "10.1.2.3" in text and "127.0.0.1" not in text
    crit("edit", sockets, "--address", "127.0.0.1=10.1.2.4", status=1)
    crit("edit", sockets, "--address", "10.1.2.3=::1", status=2)
