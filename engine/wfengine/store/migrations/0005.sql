-- Folders of runs that have no rows here any more: since 0 those that were pruned and are about to go, otherwise since
-- when (epoch milliseconds) those of runs made after the backup that was restored then.
CREATE TABLE leftovers (
    run_id INTEGER PRIMARY KEY,
    since  INTEGER NOT NULL
);
