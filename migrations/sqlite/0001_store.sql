-- Bodies (data, writes, old, entry, answer, error) are MessagePack; the database never looks into one.
-- Times are microseconds since 1970, UTC. Scopes: 0 the tenant, > 0 that unit or user, < 0 that device.
-- There are no foreign keys: the hub is the only writer.

-- The store's own facts: epoch (an integer that only rises), cursor_key (32 bytes), checked (last health check).
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

-- The counter row of each tenant orders its log.
CREATE TABLE tenant (
  no            INTEGER PRIMARY KEY,
  name          TEXT    NOT NULL UNIQUE,
  seq           INTEGER NOT NULL DEFAULT 0,  -- the log's head
  last_us       INTEGER NOT NULL DEFAULT 0,  -- the log's last time
  horizon       INTEGER NOT NULL DEFAULT 0,  -- rows and tombstones at or below it may be gone
  version_floor INTEGER NOT NULL DEFAULT 0   -- highest version of any purged tombstone
);

-- Units (kind 1) and users (kind 2); everything else names them by number.
CREATE TABLE party (
  no     INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL,
  kind   INTEGER NOT NULL,
  name   TEXT    NOT NULL,
  UNIQUE (tenant, kind, name)
);

CREATE TABLE domain (
  no   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);

-- A record as it stands. A tombstone is the same row with `deleted` set and keeps its data, so that filters can
-- be judged.
CREATE TABLE record (
  rid     INTEGER PRIMARY KEY,   -- given out by the writer, rising
  tenant  INTEGER NOT NULL,
  domain  INTEGER NOT NULL,
  key     BLOB    NOT NULL,      -- mobile_id, 16 bytes
  unit    INTEGER,
  owner   INTEGER,
  scope   INTEGER NOT NULL,
  version INTEGER NOT NULL,
  seq     INTEGER NOT NULL,      -- its last log row
  time_us INTEGER NOT NULL,      -- of that row
  flags   INTEGER NOT NULL,      -- priority + 4 * sync_status
  deleted INTEGER NOT NULL,
  writes  BLOB    NOT NULL,      -- [[version, time_us, priority, install, number, [field, ...]], ...], newest last
  data    BLOB    NOT NULL
);
CREATE UNIQUE INDEX record_key ON record (tenant, domain, key);
-- Snapshots walk it, scope by scope in the order of rid; tombstones cost them nothing.
CREATE INDEX record_live ON record (tenant, domain, scope) WHERE deleted = 0;

-- A tenant's log. kind: 1 create, 2 update, 3 delete, 4 leave (the record left `scope`).
CREATE TABLE log (
  tenant  INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  scope   INTEGER NOT NULL,
  kind    INTEGER NOT NULL,
  domain  INTEGER NOT NULL,
  rid     INTEGER NOT NULL,
  version INTEGER NOT NULL,
  prev    INTEGER NOT NULL,      -- the record's row before this one: its history is walked without an index
  time_us INTEGER NOT NULL,
  install INTEGER NOT NULL,      -- who wrote it; 0: the hub, < 0: a publisher's party
  flags   INTEGER NOT NULL,      -- priority
  old     BLOB    NOT NULL,      -- {field: value before}, only the fields that changed
  PRIMARY KEY (tenant, seq)
) WITHOUT ROWID;
-- A device reads a few ranges of it: the tenant's, its unit's, its user's.
CREATE INDEX log_scope ON log (tenant, scope, seq);

-- Devices, known by (tenant, user, id); the publishers and operators of a user share the row with the id ''.
CREATE TABLE device (
  no             INTEGER PRIMARY KEY,
  tenant         INTEGER NOT NULL,
  user           INTEGER NOT NULL,
  id             TEXT    NOT NULL,
  kind           INTEGER NOT NULL,            -- 0 none, 1 desktop, 2 laptop, 3 tablet, 4 phone
  priority       INTEGER NOT NULL,
  generation     INTEGER NOT NULL DEFAULT 0,  -- each accepted hello takes the next
  acked          INTEGER NOT NULL DEFAULT 0,  -- acknowledged place
  profile        BLOB    NOT NULL,            -- name, system and version of the app, as sent
  seen_us        INTEGER NOT NULL,
  deactivated_us INTEGER,
  UNIQUE (tenant, user, id)
);

-- Installations of an app on a device; install_id is empty for a device that names none.
CREATE TABLE install (
  no         INTEGER PRIMARY KEY,
  device     INTEGER NOT NULL,
  install_id BLOB    NOT NULL,
  mark       INTEGER NOT NULL DEFAULT 0,      -- the highest number decided; numbers are decided in order
  UNIQUE (device, install_id)
);

-- Numbers at or below the mark that were refused.
CREATE TABLE refused (
  install INTEGER NOT NULL,
  number  INTEGER NOT NULL,
  at_us   INTEGER NOT NULL,
  error   BLOB    NOT NULL,                   -- [code, message, field]
  PRIMARY KEY (install, number)
) WITHOUT ROWID;

-- Batches that were decided, with their answers.
CREATE TABLE batch (
  device   INTEGER NOT NULL,
  batch_id BLOB    NOT NULL,
  hash     BLOB    NOT NULL,
  at_us    INTEGER NOT NULL,
  answer   BLOB    NOT NULL,                  -- [[status, version, deleted, conflict, error], ...]
  PRIMARY KEY (device, batch_id)
) WITHOUT ROWID;
CREATE INDEX batch_at ON batch (at_us);

-- What did not land whole. kind: 1 resolved (audit), 2 manual, 3 refused (inbox).
-- state: 1 open, 2 closed, 3 applied from the inbox.
CREATE TABLE review (
  no             INTEGER PRIMARY KEY,
  id             BLOB    NOT NULL UNIQUE,     -- conflict_id
  tenant         INTEGER NOT NULL,
  domain         INTEGER NOT NULL,
  key            BLOB,
  scope          INTEGER NOT NULL,
  kind           INTEGER NOT NULL,
  state          INTEGER NOT NULL,
  device         INTEGER NOT NULL,
  install        INTEGER NOT NULL,
  number         INTEGER,
  at_us          INTEGER NOT NULL,
  code           INTEGER,
  strategy       INTEGER,                     -- 1 client_wins, 2 server_wins, 3 most_recent_wins,
                                              -- 4 preserve_escalation, 5 device_priority, 6 manual
  resolution     INTEGER,                     -- 1 client, 2 server, 3 merged, 4 manual_required
  base_version   INTEGER NOT NULL,
  server_version INTEGER NOT NULL,
  entry          BLOB    NOT NULL,            -- the entry as sent
  server         BLOB    NOT NULL,            -- the values that it met, of its fields
  fields         BLOB    NOT NULL             -- {field: who won and why}
);
CREATE INDEX review_inbox  ON review (device, no) WHERE state = 1 AND kind = 3;
CREATE INDEX review_number ON review (install, number) WHERE number IS NOT NULL;
