"""What a recording is, and the words for each way in which it can be unusable."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from nbpkg.errors import MediaError
from nbpkg.video.probe import probe


def test_facts(video, tmp_path):
    path = video(tmp_path / "Größe – 1.mp4", 50, fps=Fraction(30000, 1001), size=(96, 160), sound=True)
    facts = probe(path)
    assert facts.fps == Fraction(30000, 1001)
    assert (facts.container, facts.codec) == ("mov,mp4", "h264")
    assert (facts.frames, facts.frames_from) == (50, "packets")
    assert (facts.width, facts.height, facts.pixel_aspect, facts.rotation) == (160, 96, 1, 0)
    assert (facts.start, facts.delay, facts.duration) == (0, 0, Fraction(50 * 1001, 30000))
    assert (facts.variable_rate, facts.has_sound) == (False, True)
    assert facts.bytes == path.stat().st_size
    assert len(facts.sha256) == 64
    quick = probe(path, header_only=True)
    assert (quick.frames_from, quick.sha256, quick.frames) == ("estimated", "", 50)
    assert abs(quick.duration - facts.duration) < Fraction(1, 10)


@pytest.mark.parametrize("fps", [24, Fraction(30000, 1001), 30, 60])
def test_rounded_time_stamps_are_no_variable_rate(fps, video, tmp_path):
    facts = probe(video(tmp_path / "a.mkv", 60, fps=fps))  # Matroska counts in milliseconds
    assert not facts.variable_rate
    assert abs(float(facts.fps) - float(fps)) < 0.02 * float(fps)


def test_turned_picture_has_the_size_as_shown(video, tmp_path):
    facts = probe(video(tmp_path / "a.mp4", 5, size=(96, 160), rotation=90))
    assert (facts.width, facts.height, facts.rotation) == (96, 160, 270)


def check(path, *words: str) -> None:
    with pytest.raises(MediaError) as caught:
        probe(path)
    text = str(caught.value)
    for word in (*words, path.name, "Where: ", "Do this: "):
        assert word in text


def test_missing_file(tmp_path):
    check(tmp_path / "none.mp4", "is not there")


def test_folder(tmp_path):
    check(tmp_path, "is a folder, not a video")


def test_empty_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    check(tmp_path / "a.mp4", "is empty", "Copy the file again")


@pytest.mark.parametrize("text", ["Dear diary,\nno video today.\n", "Ü" * 400, "a" * 511 + "ü and more"])
def test_text_file(text, tmp_path):
    (tmp_path / "a.mp4").write_text(text, encoding="utf-8")
    check(tmp_path / "a.mp4", "is a text file, not a video")


def test_playlist_opens_no_other_file(video, tmp_path):
    video(tmp_path / "secret.ts", 20)
    path = tmp_path / "a.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n", encoding="utf-8")
    check(path, "holds no video itself")


def test_random_bytes(tmp_path):
    (tmp_path / "a.mp4").write_bytes(bytes(range(1, 256)) * 40)
    check(tmp_path / "a.mp4", "is no video that can be read")


def test_sound_only(sound, tmp_path):
    check(sound(tmp_path / "a.mp4"), "holds no picture but sound")


def test_mp4_cut_before_its_index(video, tmp_path):
    path = video(tmp_path / "a.mp4", 100)  # the index lies at the end
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    check(path, "was cut off", "moov", "Copy the file again")


def test_mp4_cut_after_its_index(video, tmp_path):
    path, front = video(tmp_path / "a.mp4", 400, size=(480, 640)), tmp_path / "front.mp4"
    with av.open(str(path)) as old, av.open(str(front), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    assert probe(front).frames == 400
    front.write_bytes(front.read_bytes()[: front.stat().st_size * 2 // 3])
    check(front, "ends early", "of 400 frames", "Expected: The 16.0 s that its header promises.")


def test_matroska_cut(video, tmp_path):
    path = video(tmp_path / "a.mkv", 400, size=(480, 640), sound=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    check(path, "ends early", "that its header promises")


def test_codec_that_nobody_knows(video, tmp_path):
    path = video(tmp_path / "a.mp4", 20)
    data = path.read_bytes()
    assert data.count(b"avc1") >= 1
    path.write_bytes(data.replace(b"avc1", b"zzz9").replace(b"avcC", b"zzzC"))
    check(path, "is in a codec that cannot be read", "Convert it")


def test_picture_track_without_a_decodable_frame(video, tmp_path):
    path = video(tmp_path / "a.mp4", 20)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for start, size in places:
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
    check(path, "can be decoded")


def test_name_like_an_address(video, tmp_path, monkeypatch):
    path = video(tmp_path / "plain.mp4", 5).rename(tmp_path / "http:x.mp4")
    monkeypatch.chdir(tmp_path)
    assert probe(path.relative_to(tmp_path)).frames == 5
