"""How was `datasets/sample/alice/` made? From the published time courses of Brennan et al. (2016), laid out as BIDS.

    python datasets/sample/make_alice.py SOURCE OUTPUT

SOURCE is the folder with `bold/6mm/`, `motion/` and `stimulus/`. Numbers keep every digit they were published with.
Nothing is filtered, scaled or left out, participant s33, whose recording is all zeros, included.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from registry import write_registry

TR = 2.0
DROPPED = 10  # volumes of silence dropped from bold/, still present in motion/
REGIONS = {
    "LATL": "left anterior temporal lobe",
    "RATL": "right anterior temporal lobe",
    "LPTL": "left posterior temporal lobe",
    "LIPL": "left inferior parietal lobe",
    "LPreM": "left premotor cortex",
    "LIFG": "left inferior frontal gyrus",
}
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")  # fMRIPrep's names, SPM8's order
AUTHORS = ["Jonathan R. Brennan", "Edward P. Stabler", "Sarah E. Van Wagenen", "Wen-Ming Luh", "John T. Hale"]
PAPER = (
    "Brennan, J. R., Stabler, E. P., Van Wagenen, S. E., Luh, W.-M., & Hale, J. T. (2016). Abstract linguistic "
    "structure correlates with temporal activity during naturalistic comprehension. Brain and Language, 157-158, 81-94."
)
DOI = "https://doi.org/10.1016/j.bandl.2016.04.008"
SOURCE = "https://github.com/daandouwe/Thesis/tree/ec54039b6ac5/brain-data/syntax-in-rnng"
LICENCES = ("LICENSE-stimulus.txt", "LICENSE-timecourses.txt")

README = f"""Alice: fMRI of story listening (Brennan et al. 2016), 18 participants

Eighteen people heard chapter 1 of Alice's Adventures in Wonderland, an audiobook slowed to 120 % of its length
(about 12 minutes), in the scanner. Here are the mean time courses of six language regions per person (spheres of
6 mm radius), the head motion, and every word with its onset.

What is where
- derivatives/rois/sub-*/func/*_atlas-sphere6mm_timeseries.tsv: 362 volumes x 6 regions, raw scanner units, with the
  time of each volume in seconds; TR 2 s. The .json beside each says the same clock.
- derivatives/rois/sub-*/func/*_desc-confounds_timeseries.tsv: the six realignment parameters of SPM8 under
  fMRIPrep's names (mm, radians), the same 362 volumes.
- task-alice_events.tsv: onset, duration, word of 2,127 words, the same for everybody; onset 0 is the first volume.
- stimuli/: the hand-corrected Praat alignment the words come from (its second 20 is onset 0) and the chapter's text.

What to know
- sub-33 is a broken recording: all zeros. It is kept as published; leave it out of every score.
- Participants up to 37 were scanned with single-echo EPI, 39 and above with multi-echo EPI (participants.tsv); the
  source does not say which it was for sub-38.
- One presentation each: a noise ceiling can only come from agreement between people.
- No raw images were published with the time courses, so there are no sub-* folders beside this file.

Changed from the published files: layout, file names and column names; the first ten rows of motion dropped (silence,
dropped from the time courses too); a column with the time. Made by datasets/sample/make_alice.py of brainalign.

Source: {SOURCE}
(a verbatim copy of the authors' public release of June 2016).

Licence: time courses and Praat annotation CC BY 4.0 (LICENSE-timecourses.txt, LICENSE-stimulus.txt, as published).
The text of the chapter is public domain (Project Gutenberg etext 11). The audiobook (LibriVox, public domain) is not
included.

Please cite: {PAPER}
{DOI}
"""


def make_alice(source: Path, output: Path) -> None:
    """Write the BIDS tree of the originals at `source` to `output`, which must not exist yet."""
    output.mkdir(parents=True)
    people = sorted(
        path.name.split("-")[0].removeprefix("s") for path in (source / "bold/6mm").glob("s*-timecourses.txt")
    )
    write_root(source, output, people)
    rois = output / "derivatives/rois"
    write_json(rois / "dataset_description.json", rois_description())
    write_json(rois / "task-alice_desc-confounds_timeseries.json", confounds_sidecar())
    for person in people:
        write_person(source, rois / f"sub-{person}/func", person)
    write_registry(output)


def write_root(source: Path, output: Path, people: list[str]) -> None:
    """What is said once for everybody: who took part, what was heard and when, under which licence."""
    write_json(output / "dataset_description.json", description("raw", "Alice: fMRI of story listening"))
    write_text(output / "README", README)
    write_text(output / ".bidsignore", "LICENSE-*\n")
    for name in LICENCES:
        copy(source / name, output / name)
    rows = ["participant_id\tscanner_sequence\n", *(f"sub-{person}\t{sequence(int(person))}\n" for person in people)]
    write_text(output / "participants.tsv", "".join(rows))
    levels = {"single-echo": "single-echo EPI", "multi-echo": "multi-echo EPI"}
    about = {"Description": "Scanner sequence of the functional images; n/a where not stated", "Levels": levels}
    write_json(output / "participants.json", {"scanner_sequence": about})
    copy(source / "stimulus/words.tsv", output / "task-alice_events.tsv")
    write_json(output / "task-alice_events.json", events_sidecar())
    for name in ("DownTheRabbitHoleFinal_exp120_pad_1.TextGrid", "chapter1.txt"):
        copy(source / "stimulus" / name, output / "stimuli" / name)


def write_person(source: Path, folder: Path, person: str) -> None:
    """One person's time courses and head motion, on one clock."""
    bold = read_numbers(source / f"bold/6mm/s{person}-timecourses.txt", len(REGIONS))
    (motion_file,) = (source / "motion").glob(f"s{person}-rp_*.txt")
    motion = read_numbers(motion_file, len(MOTION))[DROPPED:]
    if len(motion) != len(bold):
        raise SystemExit(f"{motion_file}: {len(motion)} rows after the first {DROPPED}, time courses have {len(bold)}")
    rows = [[TR * i, *values] for i, values in enumerate(bold)]
    name = f"sub-{person}_task-alice"
    write_table(folder / f"{name}_atlas-sphere6mm_timeseries.tsv", ["time", *REGIONS], rows)
    write_json(folder / f"{name}_atlas-sphere6mm_timeseries.json", rois_sidecar())
    write_table(folder / f"{name}_desc-confounds_timeseries.tsv", list(MOTION), motion)


def sequence(person: int) -> str:
    """Which scanner sequence the source states for a participant."""
    return "single-echo" if person <= 37 else "multi-echo" if person >= 39 else "n/a"


def description(kind: str, name: str) -> dict[str, Any]:
    """What a BIDS dataset says about itself."""
    return {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": kind,
        "License": "CC-BY-4.0",
        "Authors": AUTHORS,
        "HowToAcknowledge": "Please cite: " + PAPER,
        "ReferencesAndLinks": [DOI, "https://www.ncbi.nlm.nih.gov/pmc/articles/PMC4893969/"],
        "SourceDatasets": [{"URL": SOURCE}],
    }


def rois_description() -> dict[str, Any]:
    """The same for the derivative, with who made it."""
    made = [
        {"Name": "Brennan et al. (2016)", "Description": "preprocessing in SPM8, mean over spheres of 6 mm radius"},
        {
            "Name": "make_alice.py",
            "Description": "layout as BIDS",
            "CodeURL": "https://github.com/brainalign/brainalign",
        },
    ]
    return description("derivative", "Alice: time courses of six regions") | {"GeneratedBy": made}


def rois_sidecar() -> dict[str, Any]:
    """The clock and the columns of a table of regions."""
    regions = {
        name: {"Description": f"mean over a sphere of 6 mm radius in the {long}", "Units": "arbitrary"}
        for name, long in REGIONS.items()
    }
    return {
        "TaskName": "alice",
        "RepetitionTime": TR,
        "StartTime": 0.0,
        "Units": "arbitrary",
        "time": {
            "Description": "time of the volume; 0 is the first one kept after ten volumes of silence",
            "Units": "s",
        },
        **regions,
    }


def confounds_sidecar() -> dict[str, Any]:
    """The units of head motion."""
    units = dict.fromkeys(MOTION[:3], "mm") | dict.fromkeys(MOTION[3:], "rad")
    return {
        name: {"Description": f"SPM8 realignment: {'translation' if unit == 'mm' else 'rotation'}", "Units": unit}
        for name, unit in units.items()
    }


def events_sidecar() -> dict[str, Any]:
    """What the columns of the words table mean."""
    return {
        "onset": {"Description": "start of the word; 0 is the first volume of the time courses", "Units": "s"},
        "duration": {"Description": "length of the word as aligned by hand", "Units": "s"},
        "word": {"Description": "the word as heard; clitics such as 'll and n't are apart"},
    }


def read_numbers(path: Path, width: int) -> list[list[float]]:
    """Read a table of numbers separated by spaces, each row `width` long."""
    rows = [[float(word) for word in line.split()] for line in path.read_text(encoding="utf-8").splitlines()]
    if any(len(row) != width for row in rows):
        raise SystemExit(f"{path}: a row has not {width} columns")
    return rows


def write_table(path: Path, header: list[str], rows: list[list[float]]) -> None:
    """Write numbers as repr does: the shortest text that reads back as the same number."""
    lines = ["\t".join(header), *("\t".join(map(repr, row)) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a sidecar."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write the same bytes on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def copy(source: Path, target: Path) -> None:
    """Copy a file's bytes and nothing else."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the folder of the originals")
    parser.add_argument("output", type=Path, help="a folder that does not exist yet")
    arguments = parser.parse_args()
    make_alice(arguments.source, arguments.output)
