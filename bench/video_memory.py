"""Peak memory of preparing 60 minutes against 1 minute. Target: at most 1.2 times."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import av

from bench.common import show, write_recording

CODE = """
import resource, shutil, sys
from pathlib import Path
from nbpkg.video.convert import Recipe
from nbpkg.video.prepare import prepare_sessions
recipe = Recipe(preset="veryfast", encoding=sys.argv[3], write_video=sys.argv[3] == "raw")
media, problems = prepare_sessions([("s", Path(sys.argv[1]))], Path(sys.argv[2]), recipe=recipe)
assert len(media) == 1 and not problems
status = Path("/proc/self/status")  # a child's getrusage begins with its parent's peak; the kernel's own mark does not
lines = status.read_text().splitlines() if status.is_file() else []
marks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
print(media["frames"][0], marks[0] if marks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def repeat_packets(source: Path, target: Path, times: int) -> Path:
    """Play a video many times over in one file without encoding again."""
    with av.open(str(target), "w") as new:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(source)) as old:
                video = old.streams.video[0]
                stream = stream or new.add_stream_from_template(video)
                for packet in old.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    new.mux(packet)
                shift += video.duration
    return target


def peak(source: Path, out: Path, encoding: str) -> tuple[int, float]:
    """Return frames prepared and peak resident memory in MB of a process of its own."""
    command = [sys.executable, "-c", CODE, str(source), str(out), encoding]
    frames, kilobytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(frames), int(kilobytes) / 1000


def main() -> list[dict]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short = write_recording(folder / "1.mp4", 60, size=(180, 320))
        long = repeat_packets(short, folder / "60.mp4", 60)
        for encoding in ("raw", "jpeg"):
            before, base = peak(short, folder / f"short_{encoding}", encoding)
            after, full = peak(long, folder / f"long_{encoding}", encoding)
            rows.append(
                {
                    "frame store": encoding,
                    "frames of 1 min": before,
                    "peak MB": round(base),
                    "frames of 60 min": after,
                    "peak MB of 60 min": round(full),
                    "ratio": round(full / base, 2),
                }
            )
    show("Peak resident memory of preparing 60 minutes against 1 minute (320x180, 25 frames/s)", rows)
    return rows


if __name__ == "__main__":
    main()
