"""Describing sound second by second: openSMILE set up once, against set up for every second in its own process or ours.

The published program starts openSMILE's command line tool for every second of sound, with two files on disk. That tool
does not come with the Python package. Two things stand for it: a C program of some lines on the package's own library,
made here where there is a compiler, which starts as fast as the tool can at best; and a new Python process that imports
the package, which starts far slower and is timed on a few seconds only. Beside them the package's own class, built once
or for every window, in this process. All but the C program, which prints seven digits, must give the same bits.
Run: python -m bench.valence_features
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.common import clock, median_of_rounds, show
from nbpkg.features.audio import Emobase, centre_frames, emobase_seconds, load_library

RATE, SECONDS, PROCESSES = 16000, 60, 5
OURS = "ours, set up once"
_PARTS = ("wave_input", "data_output_single")
_WINDOW = """
import sys
import numpy as np
import opensmile
samples = np.fromfile(sys.argv[1], '<i2').astype(np.float32) / 32768
smile = opensmile.Smile(sys.argv[2], 'func')
np.save(sys.argv[3], smile.process_signal(samples, int(sys.argv[4])).to_numpy())
"""
_TOOL = r"""
#include <stdio.h>
#include <stdlib.h>
typedef struct { const char *name, *value; } Option;
void *smile_new(void);
int smile_initialize(void *, const char *, int, const Option *, int, int, int, const char *);
int smile_run(void *);
int smile_extaudiosource_write_data(void *, const char *, const void *, int);
int smile_extaudiosource_set_external_eoi(void *, const char *);
int smile_extsink_set_data_callback(void *, const char *, int (*)(const float *, long, void *), void *);
static int print(const float *row, long count, void *file) {
  for (long place = 0; place < count; place++) fprintf(file, "%.6e,", row[place]);
  return 1;
}
int main(int count, char **words) {
  Option options[] = {{"source", words[4]}, {"sink", words[5]}, {"sinkLevel", "func"}, {"sampleRate", words[6]}};
  int bytes = 2 * atoi(words[6]);
  char *window = malloc(bytes);
  FILE *in = fopen(words[1], "rb"), *out = fopen(words[3], "w");
  void *smile = smile_new();
  if (count != 7 || !in || !out || fread(window, 1, bytes, in) != (size_t)bytes) return 1;
  if (smile_initialize(smile, words[2], 4, options, 0, 0, 0, 0)) return 2;
  smile_extsink_set_data_callback(smile, "extsink", print, out);
  smile_extaudiosource_write_data(smile, "extsource", window, bytes);
  smile_extaudiosource_set_external_eoi(smile, "extsource");
  return smile_run(smile) || fclose(out);
}
"""


def make_speech(seconds: int) -> np.ndarray:
    """Make something like a voice: harmonics whose pitch and loudness change, and noise."""
    times = np.arange(seconds * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(140 + 30 * np.sin(np.pi * times)) / RATE
    voice = sum(np.sin(order * phase) / order for order in range(1, 9)) * (0.55 + 0.45 * np.sin(8 * times))
    noise = np.random.default_rng(0).standard_normal(len(times))
    return np.round(32767 * (0.12 * voice + 0.01 * noise)).astype(np.int16)


def describe_in_processes(windows: list[np.ndarray], config: Path, folder: Path) -> np.ndarray:
    """Describe each window by a process of its own, with files between."""
    rows = []
    for window in windows:
        window.astype("<i2").tofile(folder / "window.raw")
        files = [str(folder / "window.raw"), str(config), str(folder / "row.npy"), str(RATE)]
        subprocess.run([sys.executable, "-c", _WINDOW, *files], check=True)
        rows.append(np.load(folder / "row.npy")[0])
    return np.array(rows)


def build_tool(folder: Path) -> Path | None:
    """Compile what stands for openSMILE's command line tool; None without a C compiler or on another system."""
    library, _ = load_library()
    shared = Path(library.smileapi_path)
    if shutil.which("cc") is None or shared.suffix != ".so":
        return None
    (folder / "tool.c").write_text(_TOOL, encoding="ascii")
    link = [str(shared), f"-Wl,-rpath,{shared.parent}"]
    subprocess.run(["cc", "-O2", "-o", str(folder / "tool"), str(folder / "tool.c"), *link], check=True)
    return folder / "tool"


def describe_by_tool(windows: list[np.ndarray], config: Path, folder: Path) -> np.ndarray:
    """Describe each window by a process of its own that loads nothing but openSMILE, with files between."""
    _, root = load_library()
    parts = [str(root / "shared" / f"standard_external_{part}.conf.inc") for part in _PARTS]
    rows = []
    for window in windows:
        window.astype("<i2").tofile(folder / "window.raw")
        files = [str(folder / "window.raw"), str(config), str(folder / "row.csv"), *parts, str(RATE)]
        subprocess.run([str(folder / "tool"), *files], check=True)
        rows.append(np.fromstring((folder / "row.csv").read_text(encoding="ascii"), sep=",", dtype=np.float64))
    return np.array(rows)


def describe_by_smile(windows: list[np.ndarray], config: Path, *, build: bool) -> np.ndarray:
    """Describe windows by the package's own class, built for each of them or once."""
    import opensmile

    smile = opensmile.Smile(str(config), "func")
    rows = []
    for window in windows:
        smile = opensmile.Smile(str(config), "func") if build else smile
        rows.append(smile.process_signal(window.astype(np.float32) / 32768, RATE).to_numpy()[0])
    return np.array(rows)


def describe_ours(windows: list[np.ndarray]) -> np.ndarray:
    """Describe windows as `emobase_seconds` does."""
    with Emobase(RATE) as describe:
        return np.stack([describe(window)[1] for window in windows])


def main() -> list[dict[str, object]]:
    """Time all ways and print a Markdown table."""
    _, root = load_library()
    speech = make_speech(SECONDS)
    windows = list(speech.reshape(SECONDS, RATE))
    found: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "emobase.conf"
        config.write_bytes(centre_frames((root / "emobase" / "emobase.conf").read_bytes()))
        sides: dict[str, Callable[[], object]] = {
            "Smile built for every second": lambda: found.update(built=describe_by_smile(windows, config, build=True)),
            "one Smile": lambda: found.update(once=describe_by_smile(windows, config, build=False)),
            OURS: lambda: found.update(ours=describe_ours(windows)),
        }
        if build_tool(folder) is not None:
            sides = {
                "a bare process a second": lambda: found.update(tool=describe_by_tool(windows, config, folder))
            } | sides
        times = {side: spent / SECONDS for side, spent in median_of_rounds(sides).items()}
        started = clock(lambda: found.update(processes=describe_in_processes(windows[:PROCESSES], config, folder)))
        times = {f"a Python process a second ({PROCESSES} s timed)": started / PROCESSES} | times
        times["ours, from a WAV file to rows"] = clock_file(speech, folder / "speech.wav") / SECONDS
    printed = found.pop("tool", found["ours"])
    np.testing.assert_allclose(printed, found["ours"], rtol=1e-6)
    same = all(np.array_equal(rows, found["ours"][: len(rows)]) for rows in found.values())
    rows: list[dict[str, object]] = [
        {"way": way, "ms per second of sound": round(1000 * spent, 2), "times ours": round(spent / times[OURS], 1)}
        for way, spent in times.items()
    ]
    show(f"Sound features, {SECONDS} s at {RATE} Hz; the same bits: {'yes' if same else 'NO'}", rows)
    return rows


def clock_file(speech: np.ndarray, path: Path) -> float:
    """Return the seconds that it takes to read and describe a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(speech.astype("<i2").tobytes())
    return clock(lambda: emobase_seconds(path))


if __name__ == "__main__":
    main()
