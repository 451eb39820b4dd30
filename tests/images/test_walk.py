from __future__ import annotations

import errno
import inspect
import os
import subprocess
import sys

import pytest

from facededup.errors import PathNotFoundError, UsageError
from facededup.images.walk import find_images, find_mount


def touch(*parts):
    path = os.path.join(*map(str, parts))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"x")
    return path


def walk(*paths, follow_symlinks=False):
    return [
        found.path for found in find_images([str(path) for path in paths], follow_symlinks=follow_symlinks)
    ]


def test_images_are_found_in_any_letter_case_and_depth(tmp_path):
    wanted = {
        touch(tmp_path, "a.JPG"),
        touch(tmp_path, "b.JpEg"),
        touch(tmp_path, "deep", "er", "c.webp"),
        touch(tmp_path, ".hidden", ".d.png"),
        touch(tmp_path, "e.tiff"),
        # Whether or not it can be decoded here: nothing is left out without a word.
        touch(tmp_path, "IMG_0001.HEIC"),
        touch(tmp_path, "f.avif"),
    }
    touch(tmp_path, "notes.txt")
    touch(tmp_path, "jpg")
    os.mkdir(tmp_path / "folder.jpg")
    assert set(walk(tmp_path)) == wanted


def test_the_order_is_the_same_whatever_the_folder_says(tmp_path):
    for name in ("c.png", "a.png", "sub/b.png", "b.png", "a-sub/z.png"):
        touch(tmp_path, name)
    names = [os.path.relpath(path, tmp_path) for path in walk(tmp_path)]
    assert names == ["a.png", "b.png", "c.png", "a-sub/z.png", "sub/b.png"]


@pytest.mark.parametrize(
    "name",
    [b"with space.jpg", b"quo'te\".jpg", b"new\nline.jpg", "gr\u00fc\u00df.jpg".encode(), b"\xff\xfe.jpg"],
)
def test_any_name_comes_back_as_the_bytes_it_has(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write(b"x")
    assert [os.fsencode(found) for found in walk(tmp_path)] == [path]


def test_found_files_carry_root_and_stat(tmp_path, monkeypatch):
    path = touch(tmp_path, "in", "a.jpg")
    monkeypatch.chdir(tmp_path)
    (found,) = find_images(["in"], follow_symlinks=False)
    status = os.stat(path)
    assert found.path == path
    assert found.root == str(tmp_path / "in")
    assert found.stat.size == 1
    assert (found.stat.mtime_ns, found.stat.ctime_ns) == (status.st_mtime_ns, status.st_ctime_ns)
    assert found.stat.inode == status.st_ino


def test_missing_paths_are_refused_before_any_work(tmp_path):
    touch(tmp_path, "a.jpg")
    for missing in (tmp_path / "gone", tmp_path / "a.jpg" / "x", "bad\0name", "x" * 300):
        with pytest.raises(PathNotFoundError, match="there is no file or folder"):
            find_images([str(tmp_path), str(missing)], follow_symlinks=False)


def test_a_given_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        find_images([str(tmp_path / "pipe.jpg")], follow_symlinks=False)


def test_a_pipe_named_like_an_image_is_reported_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    images = find_images([str(tmp_path)], follow_symlinks=False)
    assert list(images) == []
    assert images.unreadable == [(str(tmp_path / "pipe.jpg"), "not a regular file")]


def test_a_given_file_is_taken_whatever_its_extension(tmp_path):
    path = touch(tmp_path, "portrait.bin")
    (found,) = find_images([path], follow_symlinks=False)
    assert (found.path, found.root) == (path, path)


def test_overlapping_paths_give_each_file_once(tmp_path):
    a, b = touch(tmp_path, "a.jpg"), touch(tmp_path, "sub", "b.jpg")
    for paths in ([tmp_path, tmp_path / "sub"], [tmp_path / "sub", tmp_path], [b, tmp_path, a, b, tmp_path]):
        assert sorted(walk(*paths)) == [a, b]


def test_iterating_again_walks_again(tmp_path):
    touch(tmp_path, "a.jpg")
    images = find_images([str(tmp_path)], follow_symlinks=False)
    assert list(images) == list(images) != []


def test_links_inside_are_followed_only_when_asked(tmp_path):
    real = touch(tmp_path, "real", "a.jpg")
    os.mkdir(tmp_path / "given")
    os.symlink(tmp_path / "real", tmp_path / "given" / "folder")
    os.symlink(real, tmp_path / "given" / "file.jpg")
    images = find_images([str(tmp_path / "given")], follow_symlinks=False)
    assert list(images) == []
    assert images.links_skipped == 2
    given = tmp_path / "given"
    assert walk(given, follow_symlinks=True) == [str(given / "file.jpg"), str(given / "folder" / "a.jpg")]


def test_a_given_link_is_walked_under_its_own_name(tmp_path):
    touch(tmp_path, "real", "a.jpg")
    os.symlink(tmp_path / "real", tmp_path / "link")
    assert walk(tmp_path / "link") == [str(tmp_path / "link" / "a.jpg")]


def test_a_path_up_from_a_link_is_where_the_system_says(tmp_path, monkeypatch):
    right = touch(tmp_path, "real", "a.jpg")
    touch(tmp_path, "near", "a.jpg")
    os.mkdir(tmp_path / "real" / "inner")
    os.symlink(tmp_path / "real" / "inner", tmp_path / "near" / "link")
    monkeypatch.chdir(tmp_path / "near")
    assert walk("link/..") == [right]


def test_loops_of_links_end(tmp_path):
    path = touch(tmp_path, "a", "x.jpg")
    os.symlink(tmp_path, tmp_path / "a" / "up")
    os.symlink("self.jpg", tmp_path / "a" / "self.jpg")
    os.symlink("nowhere", tmp_path / "a" / "dangling.png")
    images = find_images([str(tmp_path)], follow_symlinks=True)
    assert [found.path for found in images] == [path]
    reasons = dict(images.unreadable)
    assert reasons[str(tmp_path / "a" / "dangling.png")] == "link to nothing"
    assert os.strerror(errno.ELOOP).lower() in reasons[str(tmp_path / "a" / "self.jpg")]


def test_folders_deeper_than_the_recursion_limit(tmp_path):
    folder = tmp_path.joinpath(*["d"] * 300)
    path = touch(folder, "x.jpg")
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = walk(tmp_path)
    finally:
        sys.setrecursionlimit(usual)
    assert found == [path]


def open_to_all(folder):
    """pytest's folders are its user's own."""
    for each in (folder, folder.parent, folder.parent.parent):
        each.chmod(each.stat().st_mode | 0o055)


def as_nobody(code, *arguments):
    """Runs code as an unprivileged user: root may read anything."""
    drop = "import os; os.getuid() == 0 and (os.setgid(65534), os.setuid(65534))\n"
    done = subprocess.run(
        [sys.executable, "-c", "from facededup.images.walk import find_images\n" + drop + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_folders_that_cannot_be_read_are_reported_and_the_rest_goes_on(tmp_path):
    open_to_all(tmp_path)
    good = touch(tmp_path, "good", "a.jpg")
    touch(tmp_path, "locked", "b.jpg")
    touch(tmp_path, "listed", "c.jpg")
    os.chmod(tmp_path / "locked", 0)
    os.chmod(tmp_path / "listed", 0o444)
    code = (
        "import sys; images = find_images(sys.argv[1:], follow_symlinks=False)\n"
        "print([found.path for found in images], images.unreadable)"
    )
    try:
        said = as_nobody(code, str(tmp_path))
    finally:
        os.chmod(tmp_path / "locked", 0o755)
        os.chmod(tmp_path / "listed", 0o755)
    unreadable = [(str(tmp_path / name), "permission denied") for name in ("listed", "locked")]
    assert said == f"{[good]} {unreadable}\n"


def test_a_given_path_behind_a_locked_folder_is_a_failed_job(tmp_path):
    open_to_all(tmp_path)
    touch(tmp_path, "locked", "b.jpg")
    os.chmod(tmp_path / "locked", 0)
    code = (
        "import sys\nfrom facededup.errors import JobError\n"
        "try: find_images(sys.argv[1:], follow_symlinks=False)\n"
        "except JobError as exc: print(exc)"
    )
    try:
        said = as_nobody(code, str(tmp_path / "locked" / "b.jpg"))
    finally:
        os.chmod(tmp_path / "locked", 0o755)
    assert "cannot be read (permission denied)" in said


def test_the_mount_point_of_a_path_that_is_gone(tmp_path):
    mount = find_mount(str(tmp_path))
    assert os.path.ismount(mount)
    assert find_mount(str(tmp_path / "gone" / "x.jpg")) == mount
    assert find_mount("/") == "/"
