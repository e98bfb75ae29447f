"""What is made again, and what is not: after an outage, damage, a kill in the middle, other versions."""

from __future__ import annotations

import json
import os
import shutil

import polars as pl
import pytest

import saywell.store.study as store
from saywell.data.examples import REJECTED
from saywell.describers.descriptors.tables import CANDIDATES, TAGS
from saywell.errors import StorageError, StudyError
from saywell.store.files import is_whole, read_array, write_arrays, write_whole
from saywell.store.study import STUDY_VERSION, Study, write_study
from saywell.store.table import UNANSWERED, Table

CURVES = Table("curves", {"figure": pl.String, "x": pl.Float64, "value": pl.Float64}, ("figure", "x"))
RUN = dict(kind="neurons", config={"seed": 0}, inputs={"texts": "abc"})


class World:
    """A study of three asked sentences: candidates, then tags made of them, arrays beside, curves."""

    def __init__(self, folder):
        self.folder, self.made, self.down = folder, [], set()
        self.weights = 1.0

    def run(self):
        import torch

        self.made = []
        with write_study(self.folder, **RUN, report=self._report) as study:
            if study.finished:
                return Study(self.folder)
            study.table(REJECTED, self._make("rejected", REJECTED.frame([])))
            study.table(CANDIDATES, lambda: self._ask(study, "candidates"))

            def collect():
                self.made.append("arrays")
                values = torch.full((3,), self.weights)
                write_arrays(self.folder / "arrays/a/x.safetensors", {"x": values})

            study.step("arrays", collect, files=("arrays/a",), uses=("rejected",))
            said = study.table("candidates").height
            study.table(TAGS, lambda: self._ask(study, "tags"))
            curve = ("f", 0.0, float(said))
            study.table(CURVES, self._make("curves", CURVES.frame([curve])))
            study.write_metrics([])
            study.note("of the run")
        return Study(self.folder)

    def _make(self, name, table):
        def make():
            self.made.append(name)
            return table

        return make

    def _ask(self, study, step):
        self.made.append(step)
        lost = [
            (step, item, "failed: HTTP 500", None, "failed") for item in "abc" if (step, item) in self.down
        ] + [(step, "refused", "refused: no", None, "refused")]
        study.unanswered(step, UNANSWERED.frame(lost))
        study.note(f"{step} were asked")
        kept = [item for item in "abc" if (step, item) not in self.down]
        if step == "tags":
            return TAGS.frame([(item, "d", "llm", 1.0) for item in kept])
        return CANDIDATES.frame([(item, 0, "x", 1.0) for item in kept])

    def _report(self, study):
        self.made.append("report")
        words = " ".join(study.manifest.notes)
        write_whole(study.path / "report.html", lambda part: part.write_text(words))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "study[1]")  # no character of a path stands for others


def lost(study):
    return study.table("unanswered").filter(status="failed").select("step", "item").rows()


def test_a_finished_study_does_nothing(world):
    world.run()
    before = {path: path.stat().st_mtime_ns for path in world.folder.rglob("*")}
    world.run()
    assert world.made == []
    del before[world.folder / ".lock"]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_what_failed_is_asked_again_and_what_follows_from_it_made_again(world):
    calm = World(world.folder.with_name("calm")).run()
    world.down = {("candidates", "b"), ("tags", "a"), ("tags", "c")}
    first = world.run()
    assert first.manifest.failed == 3 and first.manifest.status == "complete"
    assert lost(first) == [("candidates", "b"), ("tags", "a"), ("tags", "c")]
    assert any("2 questions of the step 'tags' had no answer" in n for n in first.manifest.notes)
    world.down = {("tags", "c")}
    second = world.run()
    # Candidates differ, so all behind them is new; arrays are not made from them.
    assert world.made == ["candidates", "tags", "curves", "report"]
    assert lost(second) == [("tags", "c")]
    world.down = set()
    third = world.run()
    assert world.made == ["tags", "curves", "report"] and lost(third) == []
    for name in calm.manifest.tables:
        assert third.table(name).equals(calm.table(name), null_equal=True), name
    assert third.manifest.notes == calm.manifest.notes
    assert third.table("unanswered")["item"].to_list() == ["refused", "refused"]


def test_an_outage_that_goes_on_leaves_all_else_as_it_is(world):
    world.down = {("candidates", "b")}
    world.run()
    world.run()
    assert world.made == ["candidates", "report"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("rejected.parquet", ["rejected"]),
        ("tags.parquet", ["tags"]),
        ("unanswered.parquet", ["candidates", "tags"]),
        ("arrays/a/x.safetensors", ["arrays"]),
        ("metrics.json", []),
        ("report.html", []),
    ],
)
@pytest.mark.parametrize("harm", [flip, os.unlink, lambda path: path.write_bytes(b"")])
def test_what_is_damaged_is_named_and_made_again_alone(world, name, again, harm):
    first = world.run()
    stored = {table: first.table(table) for table in first.manifest.tables}
    harm(world.folder / name)
    with pytest.raises(StudyError, match="the command that made the study makes it again"):
        if name.endswith(".parquet"):
            Study(world.folder).table(name.removesuffix(".parquet"))
        else:
            Study(world.folder).file(name)
    mended = world.run()
    assert world.made == [*again, "report"]
    for table, content in stored.items():
        assert mended.table(table).equals(content, null_equal=True), table
    assert first.manifest.notes == mended.manifest.notes
    assert mended.file(name).read_bytes() if mended.has(name) else mended.verify(name[:-8])


def test_tables_that_changed_places_are_noticed(world):
    world.run()
    one, two = (world.folder / f"{name}.parquet" for name in ("candidates", "tags"))
    one.rename(world.folder / "x")
    two.rename(one)
    (world.folder / "x").rename(two)
    world.run()
    assert world.made == ["candidates", "tags", "report"]


@pytest.mark.parametrize("moment", range(3))
def test_tables_of_a_step_are_there_together_or_not_at_all(tmp_path, monkeypatch, moment):
    """Killed between the tables of a step, before study.json names them, or in its first writing."""
    rows = UNANSWERED.frame([("tags", "a", "refused: no", None, "refused")])
    rejected = REJECTED.frame([(1, None, "empty", "")])
    write, count = store.write_parquet, iter(range(9))

    def killed(*arguments):
        if next(count) == moment:
            raise SystemExit
        write(*arguments)

    def step(study):
        study.unanswered("rejected", rows)
        return rejected

    for name in ("write_parquet",) if moment else ("write_json",):
        monkeypatch.setattr(store, name, killed if moment else lambda *a, **k: killed())
    with pytest.raises(SystemExit), write_study(tmp_path / "s", **RUN) as study:
        study.table(REJECTED, lambda: step(study))
        raise SystemExit
    monkeypatch.undo()
    if not moment:
        (tmp_path / "s" / ".study.json.123.part").write_text("{")
    else:
        assert moment == 2 or not Study(tmp_path / "s").manifest.tables
    with write_study(tmp_path / "s", **RUN) as study:
        assert study.table(REJECTED, lambda: step(study)).equals(rejected)
        assert study.table("unanswered").height == 1
    assert not list((tmp_path / "s").glob(".*.part*"))


def test_what_killed_runs_left_is_swept_and_nothing_else(world):
    world.run()
    ours = [world.folder / ".tags.parquet.77.part", world.folder / "arrays/.x.1.part"]
    for path in ours:
        path.write_text("half")
    folder = world.folder / ".readings.9.part.ab12"
    folder.mkdir()
    mine = [world.folder / name for name in (".notes.part", "x.part", ".a.part.txt", "notes.txt")]
    for path in mine:
        path.write_text("mine")
    world.run()
    assert not any(path.exists() for path in (*ours, folder)) and all(p.exists() for p in mine)


def test_a_pass_goes_on_only_where_it_was_of_the_same(tmp_path):
    import torch

    path = tmp_path / "a.safetensors"
    write_arrays(path, {"x": torch.arange(4), "y": torch.tensor(1.5)}, of="one")
    assert is_whole(path, of="one") and not is_whole(path, of="other")
    shutil.copy(path, tmp_path / "b.safetensors")
    assert not is_whole(tmp_path / "b.safetensors", of="one")  # it has taken another's place
    data = path.read_bytes()
    for damage in (data[:-1], data[:3], b"", data[:-1] + bytes([data[-1] ^ 1])):
        path.write_bytes(damage)
        assert not is_whole(path, of="one")
    with pytest.raises(StorageError, match=r"a\.safetensors' is damaged"):
        path.write_bytes(b"")
        read_array(path, "x")


def test_a_study_of_a_later_version_says_which(world):
    world.run()
    path = world.folder / "study.json"
    later = json.loads(path.read_text()) | {"schema_version": STUDY_VERSION + 1, "colour": "red"}
    later["versions"]["saywell"] = "9.1"
    path.write_text(json.dumps(later))
    with pytest.raises(StudyError, match=r"has format 4.*\(saywell 9\.1\)"):
        Study(world.folder)


def test_a_manifest_that_somebody_changed_is_not_believed(world):
    world.run()
    path = world.folder / "study.json"
    path.write_text(path.read_text().replace("of the run", "of no run", 1))
    with pytest.raises(StudyError, match="is not as the study wrote it"):
        Study(world.folder)


def test_studies_of_the_format_before_are_read_and_not_gone_on_with(world):
    world.run()
    path = world.folder / "study.json"
    old = json.loads(path.read_text()) | {"schema_version": 2}
    for name in ("steps", "hash"):  # the first ones had none
        del old[name]
    for stored in old["tables"].values():
        del stored["columns"], stored["key"]
    path.write_text(json.dumps(old))
    study = Study(world.folder)
    assert study.headline() == [] and study.table("tags").height == 3
    with pytest.raises(StudyError, match="has format 2, which this saywell reads and does not go on with"):
        world.run()


@pytest.mark.parametrize(
    ("place", "says"),
    [("file/below", "a part of this path is a file"), ("file", "is a file; a study is a folder")],
)
def test_where_nothing_can_be_written_one_line_says_so(tmp_path, place, says):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StudyError, match=says), write_study(tmp_path / place, **RUN):
        pass


def test_a_full_disk_is_one_line_and_keeps_what_is_done(world, monkeypatch):
    def full(path, table):
        if path.name == "tags.parquet":
            with store.storing(path):
                raise pl.exceptions.ComputeError("No space left on device (os error 28)")
        write(path, table)

    write = store.write_parquet
    monkeypatch.setattr(store, "write_parquet", full)
    with pytest.raises(StorageError, match=r"tags\.parquet'.*make room on that disk"):
        world.run()
    monkeypatch.undo()
    assert Study(world.folder).manifest.status == "stopped"
    world.run()
    assert world.made == ["tags", "curves", "report"]


def test_an_item_that_failed_in_one_question_and_not_in_another_is_asked_again(tmp_path):
    """As a sentence that is read for two units in two batches: one unreadable, one lost."""
    lost = [
        ("tags", "a", "unparsed: no", None, "unparsed"),
        ("tags", "b", "empty: no", None, "empty"),
        ("tags", "a", "failed: no", None, "failed"),
    ]
    rejected = REJECTED.frame([(1, None, "empty", "")])
    asked = []

    def step(study, rows):
        asked.append(rows)
        study.unanswered("tags", UNANSWERED.frame(rows))
        return rejected

    for rows in (lost, lost[1:2], pytest.fail):
        with write_study(tmp_path / "s", **RUN) as study:
            study.table(REJECTED, lambda rows=rows, study=study: step(study, rows))
        assert study.manifest.failed == (rows is lost)
    assert asked == [lost, lost[1:2]]
    assert study.table("unanswered")["item"].to_list() == ["b"]
