-- Digests of live records, kept up in the transactions that change them: the view of a session is the sum over
-- the scopes that it sees. A row whose records have all gone stays, with zeros.
CREATE TABLE digest (
  tenant INTEGER NOT NULL,
  domain INTEGER NOT NULL,
  scope  INTEGER NOT NULL,
  count  INTEGER NOT NULL,
  sum    INTEGER NOT NULL,       -- modulo 2^64, as the signed integer with the same bits
  PRIMARY KEY (tenant, domain, scope)
) WITHOUT ROWID;
