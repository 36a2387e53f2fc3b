-- A push that is not a change is a row of the log too, of kind 5. It belongs to no record: `domain`, `rid` and `prev`
-- are 0, `version` is the time from which on it is sent to nobody any more, `old` is [id, what it says].
-- What is owed to a device is found through this, without a look at what changed.
CREATE INDEX log_push ON log (tenant, scope, seq, version) WHERE kind = 5;

-- The log's head when the device was new: pushes up to it were not meant for it.
ALTER TABLE device ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
-- The last push that was handed to its socket.
ALTER TABLE device ADD COLUMN pushed INTEGER NOT NULL DEFAULT 0;
-- The devices that pushes are counted for.
CREATE INDEX device_alive ON device (tenant, user) WHERE deactivated_us IS NULL AND id <> '';

-- What happened to a device's pushes from `seq` to `upto` beside what its places say.
-- what: 1 held back, 2 handed to its socket after that, 3 merged into a later one, 4 dropped since there were too
-- many, 5 dropped since its time was over.
CREATE TABLE push_exception (
  device INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  what   INTEGER NOT NULL,
  upto   INTEGER NOT NULL,
  at_us  INTEGER NOT NULL,
  PRIMARY KEY (device, seq, what)
) WITHOUT ROWID;
CREATE INDEX push_exception_at ON push_exception (at_us);

-- The conflicts of a device that await a person.
CREATE INDEX review_manual ON review (device, no) WHERE state = 1 AND kind = 2;
