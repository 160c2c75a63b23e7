"""A data folder of an older version opens, one of a newer version is left alone, and one bad row stops nobody."""

import json
import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from tests.support.jobs import SHORT, a_house, a_job, a_request
from wan_core.events import Finished
from wan_core.files import FileStore
from wan_core.jobs.migrations import MIGRATIONS, version
from wan_core.jobs.rows import NewJob
from wan_core.jobs.store import JobStore

NOW = time.time()
BEGIN = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, job TEXT NOT NULL, client TEXT NOT NULL, lane TEXT NOT NULL, status TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL, started_at REAL, finished_at REAL,
    logs TEXT NOT NULL DEFAULT '[]', outcome TEXT, remote TEXT{more}
) STRICT;
CREATE INDEX jobs_by_time ON jobs (created_at);
"""
SPENDING = """
CREATE TABLE spending (
    job_id TEXT PRIMARY KEY, client TEXT NOT NULL, dollars REAL NOT NULL, at REAL NOT NULL
) STRICT;
"""
OLD = {
    "at first": BEGIN.format(more=""),
    "with the owner's dollars": BEGIN.format(
        more=", dollars REAL NOT NULL DEFAULT 0, owner_pays INTEGER NOT NULL DEFAULT 0"
    ),
    "with deadlines": BEGIN.format(
        more=", start_by REAL, dollars REAL NOT NULL DEFAULT 0, owner_pays INTEGER NOT NULL DEFAULT 0"
    ),
    "with spending apart": BEGIN.format(more=", start_by REAL, owner_pays INTEGER NOT NULL DEFAULT 0") + SPENDING,
}
"""The tables of earlier versions, as they made them."""


def old_job(files: FileStore, job_id: str) -> str:
    """A job as the versions before file ids wrote it; its picture lies where they put it."""
    a_picture(files, job_id)
    plain = {"id": job_id, "request": a_request(**SHORT, seed=3).model_dump() | {"image_url": ""}}
    plain |= {"picture": f"/somewhere/else/pictures/{job_id}.png", "size": {"width": 832, "height": 480}}
    return json.dumps(plain | {"engine": "miniature", "where": "local", "frames_of": None, "prompt_in_file": True})


def a_picture(files: FileStore, file_id: str) -> None:
    Image.new("RGB", (64, 48), "teal").save(files.picture(file_id))


def old_database(files: FileStore, schema: str) -> None:
    """One finished job with its clip, one that waits."""
    result = {"clip": "/somewhere/else/clips/done.mp4", "prompt": "a walk", "seed": 3, "frames": 17, "fps": 16}
    result |= {"size": {"width": 832, "height": 480}, "engine": "miniature", "stage_seconds": {}, "notes": ["n"]}
    outcome = json.dumps({"event": "Finished", "result": result | {"fal_url": None}})
    logs = json.dumps([{"message": "Sampling.", "level": "INFO", "at": NOW}])
    files.clip("done").write_bytes(b"mp4")
    with closing(sqlite3.connect(files.database)) as db, db:
        db.executescript(schema)
        names = "id, job, client, lane, status, created_at, finished_at, logs, outcome"
        insert = f"INSERT INTO jobs ({names}) VALUES (?, ?, 'key:1', 'local', ?, ?, ?, ?, ?)"
        db.execute(insert, ("done", old_job(files, "done"), "done", NOW - 2, NOW - 1, logs, outcome))
        db.execute(insert, ("waits", old_job(files, "waits"), "queued", NOW - 1, None, "[]", None))


@pytest.mark.parametrize("schema", OLD.values(), ids=OLD)
def test_finished_clips_of_an_older_version_are_served_and_its_waiting_jobs_run(data: FileStore, schema: str) -> None:
    old_database(data, schema)
    with a_house(data) as house:
        done, waits = house.jobs.get("done"), house.jobs.get("waits")
        assert done and waits
        result = house.jobs.result(done)
        assert result and (result.seed, result.notes, done.logs[0].message) == (3, ("n",), "Sampling.")
        assert isinstance(house.outcome(waits), Finished)
        assert data.picture(waits.job.picture).is_file() and waits.job.inputs.num_inference_steps == 2


@pytest.mark.parametrize("schema", OLD.values(), ids=OLD)
def test_new_jobs_are_accepted_beside_those_of_an_older_version(data: FileStore, schema: str) -> None:
    old_database(data, schema)
    with a_house(data) as house:
        assert isinstance(house.outcome(house.submit()), Finished)


def test_what_the_owner_spent_under_an_older_version_still_counts(data: FileStore) -> None:
    for number, schema in enumerate((OLD["with the owner's dollars"], OLD["with spending apart"])):
        files = FileStore(data.root / str(number))
        files.root.mkdir()
        old_database(files, schema)
        with closing(sqlite3.connect(files.database)) as db, db:
            if number == 0:
                db.execute("UPDATE jobs SET dollars = 0.4, owner_pays = 1, remote = '{}' WHERE id = 'done'")
            else:
                db.execute("INSERT INTO spending VALUES ('done', 'key:1', 0.4, ?)", (NOW,))
        store = JobStore(files.database)
        spent = store.spending("key:1", 24 * 3600)
        store.close()
        assert (spent.jobs, spent.dollars, spent.own_jobs) == (1, 0.4, 1)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("job", "{ no json"),
        ("job", "[]"),
        ("job", json.dumps({"id": "bad", "endpoint": "another"})),
        ("outcome", json.dumps({"event": "Vanished"})),
        ("status", "asleep"),
        ("logs", "{}"),
        ("remote", "7"),
    ],
)
def test_one_row_that_cannot_be_read_is_set_aside_and_the_others_go_on(
    data: FileStore, column: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, good, bad = JobStore(data.database), a_job(), a_job()
    store.add(NewJob(good, "a", "local"), NewJob(bad, "a", "local"))
    store.close()
    with closing(sqlite3.connect(data.database)) as db, db:
        db.execute(f"UPDATE jobs SET {column} = ? WHERE id = ?", (text, bad.id))
    with caplog.at_level(logging.ERROR):
        store = JobStore(data.database)
        assert [row.job for row in store.unfinished_rows()] == [good]
    assert bad.id in caplog.text
    assert store.set_aside_since(60) == {bad.id}
    store.close()
    with closing(sqlite3.connect(data.database)) as db:
        kept = json.loads(db.execute("SELECT row FROM unreadable_jobs").fetchone()[0])
    assert kept["id"] == bad.id and kept[column] == text


def test_a_field_that_this_version_does_not_know_is_not_ignored(data: FileStore) -> None:
    store, job = JobStore(data.database), a_job()
    store.add(NewJob(job, "a", "local"))
    store.close()
    with closing(sqlite3.connect(data.database)) as db, db:
        db.execute("UPDATE jobs SET job = json_set(job, '$.end_picture', 'x')")
    store = JobStore(data.database)
    assert store.unfinished_rows() == [] and store.set_aside_since(60) == {job.id}
    store.close()


def test_a_database_of_a_newer_version_is_refused_in_one_sentence_and_not_touched(data: FileStore) -> None:
    JobStore(data.database).close()
    with closing(sqlite3.connect(data.database)) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = data.database.read_bytes()
    with pytest.raises(SystemExit, match=r"newer version of this app.*WAN_DATA_DIR"):
        JobStore(data.database)
    assert data.database.read_bytes() == before
    assert not list(data.root.glob("*.damaged*"))


def test_a_damaged_database_is_set_aside_and_the_owners_spending_still_counts(data: FileStore) -> None:
    store = JobStore(data.database)
    store.note_spending("job", "a", 1.25)
    store.close()
    data.database.write_bytes(b"no database any more" * 500)
    store = JobStore(data.database)
    spent = store.spending("a", 24 * 3600)
    store.close()
    assert (spent.jobs, spent.dollars) == (1, 1.25)
    assert len(list(data.root.glob("jobs.damaged-*"))) == 1


def test_a_damaged_database_of_an_older_version_still_tells_what_was_spent(data: FileStore) -> None:
    old_database(data, OLD["with spending apart"])
    with closing(sqlite3.connect(data.database)) as db, db:
        db.execute("INSERT INTO spending VALUES ('done', 'key:1', 0.4, ?)", (NOW,))
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    with data.database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    store = JobStore(data.database)
    spent = store.spending("key:1", 24 * 3600)
    store.close()
    assert spent.dollars == 0.4 and len(list(data.root.glob("jobs.damaged-*"))) == 1


def test_migrating_twice_changes_nothing(data: FileStore) -> None:
    old_database(data, OLD["with deadlines"])
    JobStore(data.database).close()
    store = JobStore(data.database)
    assert store.ids() == {"done", "waits"} and version(store._db) == len(MIGRATIONS)
    store.close()


def test_a_disk_error_is_no_damage(data: FileStore) -> None:
    Path(data.database).mkdir()
    with pytest.raises(SystemExit, match="cannot be opened"):
        JobStore(data.database)
    assert data.database.is_dir()
